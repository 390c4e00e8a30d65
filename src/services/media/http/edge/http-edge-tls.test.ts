import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { SluiceError } from '../../../../foundation/errors.ts'
import { makeCertificate, type TestCertificate } from '../../../../mechanisms/net/certificate.testkit.ts'
import type { ConnectionInfo } from '../../../../mechanisms/net/index.ts'
import { createRegistry, type Registry, silentLogger } from '../../../../mechanisms/telemetry/index.ts'
import type { HttpHandler } from '../handler.ts'
import { HttpEdge, type HttpEdgeOptions } from './http-edge.ts'

const patience = { timeout: 15_000 }
const loopback = { host: '127.0.0.1', port: 0 }
let certificate: TestCertificate

beforeAll(async () => {
  certificate = await makeCertificate()
})

/** An edge with one plain and one secure port, and its clients. */
class Bench implements AsyncDisposable {
  readonly registry: Registry = createRegistry('0')
  readonly edge: HttpEdge
  readonly #sockets: Socket[] = []

  private constructor(options: Partial<HttpEdgeOptions>) {
    this.edge = new HttpEdge({
      listen: [loopback],
      secure: { listen: [loopback], certificate },
      handlers: [],
      version: '1.2.3',
      logger: silentLogger(),
      registry: this.registry,
      ...options,
    })
  }

  static async start(options: Partial<HttpEdgeOptions> = {}): Promise<Bench> {
    const bench = new Bench(options)
    await bench.edge.start()
    return bench
  }

  /** Sends something, plain or over TLS, and gives what comes back until now. */
  async send(how: How, text: string | Buffer, options: SendOptions = {}): Promise<Reply> {
    const { secureAddresses, addresses } = this.edge
    const port = (options.toSecurePort === true || how === 'TLS' ? secureAddresses : addresses)[0]?.port ?? 0
    const { localAddress } = options
    const raw = connectTcp({ port, host: '127.0.0.1', ...(localAddress !== undefined && { localAddress }) })
    raw.on('error', () => {})
    await once(raw, 'connect')
    if (options.before !== undefined) raw.write(options.before)
    const { ALPNProtocols = ['h2', 'http/1.1'] } = options
    const socket =
      how === 'TLS'
        ? connectTls({ socket: raw, servername: 'localhost', ca: certificate.cert, ALPNProtocols })
        : raw
    socket.on('error', () => {})
    this.#sockets.push(socket, raw)
    const reply: Reply = { socket, text: '', isClosed: false }
    socket.on('data', (bytes: Buffer) => {
      reply.text += bytes.toString('latin1')
    })
    socket.on('close', () => {
      reply.isClosed = true
    })
    if (how === 'TLS') await once(socket, 'secureConnect')
    socket.write(text)
    return reply
  }

  async metric(name: string, label: string): Promise<number | undefined> {
    const metric = await this.registry.getSingleMetric(name)?.get()
    return metric?.values.find(({ labels }) => Object.values(labels).includes(label))?.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await this.edge.close()
  }
}

type How = 'plain' | 'TLS'

interface SendOptions {
  readonly toSecurePort?: boolean
  readonly ALPNProtocols?: string[]
  /** Sent ahead of TLS. */
  readonly before?: string
  readonly localAddress?: string
}

interface Reply {
  readonly socket: Socket
  text: string
  isClosed: boolean
}

const get = (path: string, headers = 'Connection: close\r\n'): string =>
  `GET ${path} HTTP/1.1\r\nHost: a.test\r\n${headers}\r\n`
const closed = async (reply: Reply): Promise<string> => {
  await expect.poll(() => reply.isClosed, patience).toBe(true)
  return reply.text
}
const tellsClient: HttpHandler = {
  matches: () => true,
  handle: async ({ socket }, response) => {
    response.end(`${socket.remoteAddress} ${'encrypted' in socket ? 'https' : 'http'}`)
  },
}
const each = it.each<How>(['plain', 'TLS'])

describe('HTTPS', () => {
  it('is served beside HTTP, by HTTP/1.1 to who would rather have HTTP/2', async () => {
    await using bench = await Bench.start({ handlers: [tellsClient] })
    const [plain, secure] = [await bench.send('plain', get('/')), await bench.send('TLS', get('/'))]
    expect(await closed(plain)).toContain('127.0.0.1 http')
    expect(await closed(secure)).toContain('127.0.0.1 https')
    expect('alpnProtocol' in secure.socket && secure.socket.alpnProtocol).toBe('http/1.1')
    expect(bench.edge.secureAddresses).toHaveLength(1)
  })

  it('has plain HTTP on its port when told so', async () => {
    const secure = { listen: [loopback], certificate, servesPlain: true }
    await using bench = await Bench.start({ handlers: [tellsClient], secure })
    const toSecurePort = true
    expect(await closed(await bench.send('plain', get('/'), { toSecurePort }))).toContain('127.0.0.1 http')
    expect(await closed(await bench.send('TLS', get('/')))).toContain('127.0.0.1 https')
  })

  it('does not serve plain HTTP unless told so, and counts it', async () => {
    await using bench = await Bench.start({ handlers: [tellsClient] })
    const reply = await bench.send('plain', get('/'), { toSecurePort: true })
    expect(await closed(reply)).not.toContain('HTTP')
    const name = 'sluice_http_unfinished_connections_total'
    await expect.poll(() => bench.metric(name, 'failed-handshake')).toBe(1)
  })

  it('is gone when the edge is closed, handshakes too, and back when it is started', async () => {
    await using bench = await Bench.start({ handlers: [tellsClient] })
    const idle = await bench.send('TLS', '')
    const shaking = await bench.send('plain', '\x16\x03\x01', { toSecurePort: true })
    await expect.poll(() => bench.edge.connectionCount).toBe(1)
    await bench.edge.close()
    await Promise.all([closed(idle), closed(shaking)])
    await bench.edge.start()
    expect(await closed(await bench.send('TLS', get('/')))).toContain('https')
  })

  it('leaves no port open when another one cannot be opened', async () => {
    await using bench = await Bench.start()
    const port = bench.edge.addresses[0]?.port ?? 0
    const edge = new HttpEdge({
      listen: [loopback],
      secure: { listen: [{ host: '127.0.0.1', port }], certificate },
      handlers: [],
      version: '1.0.0',
      logger: silentLogger(),
      registry: createRegistry('0'),
    })
    await expect(edge.start()).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    expect(edge.addresses).toEqual([])
  })
})

describe('bad input (defects 13, 19 and 45)', () => {
  const slow = { headTimeoutMs: 100, requestTimeoutMs: 100 }

  each('a head that comes slowly is answered with 408: %s', async (how) => {
    await using bench = await Bench.start(slow)
    expect(await closed(await bench.send(how, 'GET / HTTP/1.1\r\nHost: '))).toContain('408 Request Timeout')
  })

  each('a body that comes slowly ends its request: %s', async (how) => {
    const ends: unknown[] = []
    const reads: HttpHandler = {
      matches: () => true,
      handle: async (request) => {
        request.once('close', () => ends.push(request.complete))
        for await (const part of request) ends.push(String(part))
      },
    }
    // Long enough for the head on a slow machine.
    await using bench = await Bench.start({ requestTimeoutMs: 2000, handlers: [reads] })
    const reply = await bench.send(how, `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nslow`)
    await closed(reply)
    await expect.poll(() => ends).toContain(false)
    expect(ends).toContain('slow')
    await expect.poll(() => bench.edge.connectionCount).toBe(0)
  })

  each('a head that is too large is answered with 431: %s', async (how) => {
    await using bench = await Bench.start()
    expect(await closed(await bench.send(how, get('/', `X: ${'x'.repeat(20_000)}\r\n`)))).toContain(' 431 ')
  })

  it.each<[How, string]>([
    ['plain', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['TLS', 'Content-Length: -1\r\n'],
    ['TLS', 'Content-Length: 1x\r\n'],
    ['plain', 'Transfer-Encoding: chunked, chunked\r\n'],
  ])('wrong lengths are answered with 400: %s, %s', async (how, headers) => {
    await using bench = await Bench.start({ handlers: [tellsClient] })
    expect(await closed(await bench.send(how, get('/', headers)))).toContain(' 400 ')
  })

  each('connections above the cap are closed, and others go on: %s', async (how) => {
    await using bench = await Bench.start({ handlers: [tellsClient], maxConnectionsPerAddress: 2 })
    const one = await bench.send(how, '')
    await bench.send(how, '')
    await expect.poll(() => bench.edge.connectionCount).toBe(2)
    const port = (how === 'TLS' ? bench.edge.secureAddresses : bench.edge.addresses)[0]?.port ?? 0
    const third = connectTcp(port, '127.0.0.1').on('error', () => {})
    third.resume()
    await once(third, 'close')
    expect(await bench.metric('sluice_http_errors_total', 'HTTP_TOO_MANY_CONNECTIONS')).toBe(1)
    one.socket.write(get('/'))
    expect(await closed(one)).toContain('200 OK')
  })

  each(
    'a thousand half-open connections of one address are bounded, and keep out nobody else: %s',
    async (how) => {
      await using bench = await Bench.start({ handlers: [tellsClient], maxConnectionsPerAddress: 500 })
      const toSecurePort = how === 'TLS'
      // Half a request, half a handshake.
      const half = how === 'TLS' ? Buffer.from('1603010200', 'hex') : 'GET / HTTP/1.1\r\n'
      const halves: Reply[] = []
      for (let i = 0; i < 1000; i += 50) {
        const sending = Array.from({ length: 50 }, () => bench.send('plain', half, { toSecurePort }))
        halves.push(...(await Promise.all(sending)))
      }
      await expect.poll(() => halves.filter(({ isClosed }) => isClosed).length, patience).toBe(500)
      const other = await bench.send(how, get('/'), { localAddress: '127.0.0.2' })
      expect(await closed(other)).toContain('200 OK')
      expect(await bench.metric('sluice_http_errors_total', 'HTTP_TOO_MANY_CONNECTIONS')).toBe(500)
    },
  )
})

describe('errors', () => {
  it.each([
    [401, 'WWW-Authenticate: Bearer'],
    [429, 'Retry-After: 5'],
    [503, 'Retry-After: 5'],
  ])('of status %s say what to do, and nothing from inside', async (status, header) => {
    const refuses: HttpHandler = {
      matches: () => true,
      handle: () => {
        const options = { side: 'client', retryable: false, status } as const
        throw new SluiceError('ACCESS_X', 'origin 10.1.2.3:8080 says no', options)
      },
    }
    await using bench = await Bench.start({ handlers: [refuses] })
    const text = await closed(await bench.send('TLS', get('/')))
    expect(text).toContain(`HTTP/1.1 ${status} `)
    expect(text).toContain(`\r\n${header}\r\n`)
    expect(text).toContain('"code":"ACCESS_X"')
    expect(text).not.toContain('10.1.2.3')
  })

  it('leave it to the handler when to ask again', async () => {
    const refuses: HttpHandler = {
      matches: () => true,
      handle: (_, response) => {
        response.setHeader('Retry-After', '60')
        throw new SluiceError('X', 'x', { side: 'client', retryable: true, status: 503 })
      },
    }
    await using bench = await Bench.start({ handlers: [refuses] })
    const text = await closed(await bench.send('plain', get('/')))
    expect(text.match(/Retry-After: \d+/g)).toEqual(['Retry-After: 60'])
  })
})

it('handlers are asked with the query too', async () => {
  const asked: string[] = []
  const asks: HttpHandler = {
    matches: (...parts) => {
      asked.push(parts.join(' '))
      return false
    },
    handle: async () => {},
  }
  await using bench = await Bench.start({ handlers: [asks] })
  await closed(await bench.send('plain', get('/live/s-1.ts?spbhid=x&a=?')))
  await closed(await bench.send('plain', get('/live/s-1.ts')))
  expect(asked).toEqual(['/live/s-1.ts GET spbhid=x&a=?', '/live/s-1.ts GET '])
})

describe('behind a balancer', () => {
  const header = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n'

  each('the client is whom it says, and counted as that: %s', async (how) => {
    await using bench = await Bench.start({
      handlers: [tellsClient],
      proxyProtocolFrom: ['127.0.0.1'],
      maxConnectionsPerAddress: 1,
    })
    const one = await bench.send(how, get('/', ''), { before: header })
    await expect.poll(() => one.text).toContain(`192.0.2.1 ${how === 'TLS' ? 'https' : 'http'}`)
    const other = await bench.send(how, get('/'), { before: header.replace('192.0.2.1', '192.0.2.2') })
    expect(await closed(other)).toContain('192.0.2.2')
    const again = await bench.send('plain', get('/'), { before: header })
    expect(await closed(again)).toBe('')
  })

  it('what comes without its header is not served, and counted', async () => {
    await using bench = await Bench.start({ handlers: [tellsClient], proxyProtocolFrom: ['127.0.0.0/8'] })
    expect(await closed(await bench.send('plain', get('/')))).toBe('')
    const name = 'sluice_http_unfinished_connections_total'
    await expect.poll(() => bench.metric(name, 'bad-proxy-header')).toBe(1)
  })
})

describe('a port that HTTP and RTMP share', () => {
  const handshake = Buffer.concat([Buffer.from([3]), Buffer.alloc(1536)])

  it('by ALPN or by the first byte, plain and over TLS', async () => {
    const rtmp: [ConnectionInfo, number][] = []
    const onRtmp = (socket: Socket, info: ConnectionInfo): void => {
      let length = 0
      socket.on('data', (bytes: Buffer) => {
        length += bytes.length
        if (length === handshake.length) rtmp.push([info, length])
      })
    }
    await using bench = await Bench.start({ handlers: [tellsClient], onRtmp })
    const [plain, secure, noAlpn] = await Promise.all([
      bench.send('plain', get('/')),
      bench.send('TLS', get('/')),
      bench.send('TLS', get('/'), { ALPNProtocols: [] }),
      bench.send('plain', handshake),
      bench.send('TLS', handshake, { ALPNProtocols: [] }),
    ])
    expect(await closed(plain)).toContain('127.0.0.1 http')
    expect(await closed(secure)).toContain('127.0.0.1 https')
    expect(await closed(noAlpn)).toContain('127.0.0.1 https')
    await expect.poll(() => rtmp.length).toBe(2)
    expect(rtmp.map(([{ remoteAddress }, length]) => [remoteAddress, length])).toEqual([
      ['127.0.0.1', 1537],
      ['127.0.0.1', 1537],
    ])
  })

  it('closes what speaks neither, and who says nothing', async () => {
    const clock = new ManualClock()
    await using bench = await Bench.start({ onRtmp: (socket) => socket.destroy(), clock })
    await closed(await bench.send('plain', '\x00\x01'))
    const silent = await bench.send('plain', '')
    await expect.poll(() => clock.pending).toBe(1)
    clock.advance(10_000)
    await closed(silent)
  })
})
