import { createHash } from 'node:crypto'
import { request } from 'node:https'
import type { Socket } from 'node:net'
import { connect } from 'node:tls'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { SluiceError } from '../../../../foundation/errors.ts'
import { makeCertificate } from '../../../../mechanisms/net/certificate.testkit.ts'
import {
  peekBytes,
  sharedPortProtocol,
  TcpListener,
  type TcpListenerOptions,
  turnAlpn,
} from '../../../../mechanisms/net/index.ts'
import { createRegistry, silentLogger } from '../../../../mechanisms/telemetry/index.ts'
import type { HttpHandler } from '../handler.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'
import { HttpEdge, type HttpEdgeOptions } from './http-edge.ts'

const CLOSE = 'Connection: close\r\n'
const nobody = new FakeBalancer([])

const at = (path: string, handle: HttpHandler['handle']): HttpHandler => ({
  matches: (pathname) => pathname === path,
  handle,
})

const start = (options: Partial<HttpEdgeOptions> = {}): Promise<Gateway> => Gateway.start(nobody, {}, options)

describe('HttpEdge', () => {
  it('hands a request to the first handler that matches', async () => {
    const seen: string[] = []
    const first = at('/a%20b', async (_, response) => {
      seen.push('first')
      response.end('one')
    })
    const second: HttpHandler = {
      matches: (pathname, method) => {
        seen.push(`${method} ${pathname}`)
        return true
      },
      handle: async ({ url }, response) => void response.end(`two ${url}`),
    }
    await using gateway = await start({ handlers: [first, second] })
    await using one = await RawClient.send(gateway.port, get('/a%20b?x=y', CLOSE))
    await one.closed()
    await using two = await RawClient.send(gateway.port, get('http://example.com/other?x', CLOSE))
    await two.closed()

    expect(one.body).toContain('one')
    expect(two.body).toContain('two /other?x')
    expect(seen).toEqual(['first', 'GET /other'])
  })

  it('tells its version in the shape of SRS', async () => {
    await using gateway = await start()
    await using client = await RawClient.send(gateway.port, get('/api/v1/versions', CLOSE))

    await client.closed()
    expect(JSON.parse(client.body)).toEqual({
      code: 0,
      pid: String(process.pid),
      signature: 'Sluice',
      version: '1.2.3',
      data: { major: 1, minor: 2, revision: 3, version: '1.2.3' },
    })
  })

  it.each([
    ['a path that nobody serves', get('/nothing', CLOSE), 404, 'HTTP_NOT_FOUND'],
    [
      'another method of the versions',
      get('/api/v1/versions', CLOSE).replace('GET', 'PUT'),
      405,
      'HTTP_METHOD_NOT_ALLOWED',
    ],
    ['a target that is no path', get('*', CLOSE).replace('GET', 'OPTIONS'), 400, 'HTTP_BAD_REQUEST'],
    ['what is not HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n', 400, 'HTTP_BAD_REQUEST'],
    ['a request without Host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400, undefined],
    ['two lengths', get('/', 'Content-Length: 1\r\nContent-Length: 2\r\n'), 400, 'HTTP_BAD_REQUEST'],
    ['a head that is too large', get('/', `X: ${'x'.repeat(20_000)}\r\n`), 431, 'HTTP_HEAD_TOO_LARGE'],
  ])('answers %s with a status and a code', async (_, request, status, code) => {
    await using gateway = await start()
    await using client = await RawClient.send(gateway.port, request)

    await client.closed()
    expect(client.head).toContain(`HTTP/1.1 ${status} `)
    if (code !== undefined) {
      expect(JSON.parse(client.body)).toMatchObject({ code })
      expect(await gateway.metric('sluice_http_errors_total', code)).toBe(1)
    }
  })

  it('answers a handler that throws with 500 and nothing of its text', async () => {
    const lines: unknown[] = []
    const logger = silentLogger()
    logger.child = () =>
      Object.assign(silentLogger(), { error: (fields: unknown) => lines.push(fields) }) as never
    const throws = at('/x', async () => {
      throw new Error('secret 10.0.0.1')
    })
    await using gateway = await start({ handlers: [throws], logger })
    await using client = await RawClient.send(gateway.port, get('/x', CLOSE))

    await client.closed()
    expect(client.head).toContain('500 Internal Server Error')
    expect(JSON.parse(client.body)).toEqual({ code: 'HTTP_INTERNAL', message: 'Internal Server Error' })
    await using again = await RawClient.send(gateway.port, get('/x', CLOSE))
    await again.closed()
    // However often.
    expect(lines).toMatchObject([{ code: 'HTTP_INTERNAL' }])
  })

  it('answers a SluiceError with its status and code', async () => {
    const throws = at('/x', () => {
      throw new SluiceError('SOME_CODE', 'secret', { side: 'client', retryable: false, status: 409 })
    })
    await using gateway = await start({ handlers: [throws] })
    await using client = await RawClient.send(gateway.port, get('/x', CLOSE))

    await client.closed()
    expect(JSON.parse(client.body)).toEqual({ code: 'SOME_CODE', message: 'Conflict' })
  })

  it('cuts the connection of a handler that throws within its answer', async () => {
    const throws = at('/x', async (_, response) => {
      response.writeHead(200, { 'Content-Length': '10' })
      response.write('half')
      throw new Error('broke')
    })
    await using gateway = await start({ handlers: [throws] })
    await using client = await RawClient.send(gateway.port, get('/x'))

    await client.closed()
    expect(client.text).not.toContain('HTTP_INTERNAL')
  })

  it.each([
    ['sends its head slowly', 'GET / HTTP/1.1\r\nHost: '],
    ['never sends a byte', ''],
  ])('does not wait for a client that %s', async (_, text) => {
    await using gateway = await start({ headTimeoutMs: 100, requestTimeoutMs: 100 })
    await using client = await RawClient.send(gateway.port, text)

    await client.closed()
    expect(client.head).toContain('408 Request Timeout')
    await until(() => gateway.edge.connectionCount === 0)
  })

  it('cuts a connection on which nothing moves', async () => {
    const waits = at('/x', () => Promise.resolve())
    await using gateway = await start({ handlers: [waits], socketIdleMs: 50 })
    await using client = await RawClient.send(gateway.port, get('/x'))
    await client.closed()
  })

  it('keeps to its bounds of connections', async () => {
    await using gateway = await start({ maxConnectionsPerAddress: 2, maxConnections: 10 })
    await using one = await RawClient.send(gateway.port, '')
    await using two = await RawClient.send(gateway.port, '')
    await until(() => gateway.edge.connectionCount === 2)
    await using three = await RawClient.send(gateway.port, '')
    await three.closed()
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_TOO_MANY_CONNECTIONS')).toBe(1)

    one.socket.destroy()
    await until(() => gateway.edge.connectionCount === 1)
    await using four = await RawClient.send(gateway.port, get('/api/v1/versions', CLOSE))
    await four.closed()
    expect(four.head).toContain('200 OK')
    expect(two.isClosed).toBe(false)
  })

  it('takes it for no leak when all requests that may wait listen to their connection', async () => {
    const warnings: string[] = []
    const onWarning = ({ name }: Error): void => void warnings.push(name)
    process.on('warning', onWarning)
    const listening = at('/x', async ({ socket }, response) => {
      socket.once('close', () => {})
      response.end('done')
    })
    await using gateway = await start({ handlers: [listening] })
    await using client = await RawClient.send(gateway.port, get('/x').repeat(15) + get('/x', CLOSE))

    await client.closed()
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('cuts a client that pipelines without end', async () => {
    await using gateway = await start({ handlers: [at('/x', () => Promise.resolve())], maxPipelined: 4 })
    await using client = await RawClient.send(gateway.port, get('/x').repeat(100))

    await client.closed()
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_TOO_MANY_PIPELINED')).toBe(1)
  })

  it('says which address it cannot bind and what to do, and leaves nothing open', async () => {
    await using gateway = await start()
    const options = { handlers: [], version: '1.0.0', logger: silentLogger(), registry: createRegistry('0') }
    const { port } = gateway
    const edge = new HttpEdge({
      ...options,
      listen: [
        { host: '127.0.0.1', port: 0 },
        { host: '127.0.0.1', port },
      ],
    })

    await expect(edge.start()).rejects.toMatchObject({
      code: 'NET_PORT_TAKEN',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    })
    expect(edge.addresses).toEqual([])
  })

  it('listens on several addresses', async () => {
    const host = '127.0.0.1'
    await using gateway = await start({
      listen: [
        { host, port: 0 },
        { host, port: 0 },
      ],
    })
    for (const { port } of gateway.edge.addresses) {
      await using client = await RawClient.send(port, get('/api/v1/versions', CLOSE))
      await client.closed()
      expect(client.head).toContain('200 OK')
    }
    expect(gateway.edge.addresses).toHaveLength(2)
  })

  it('survives random bytes', async () => {
    await using gateway = await start()
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.boolean(),
        async (bytes, isPrefixed) => {
          const text = Buffer.from(bytes).toString('latin1')
          await using client = await RawClient.send(gateway.port, isPrefixed ? `GET /${text}` : text)
          client.socket.end()
          await client.closed()
        },
      ),
      { numRuns: 200 },
    )
    await using client = await RawClient.send(gateway.port, get('/api/v1/versions', CLOSE))
    await client.closed()
    expect(client.head).toContain('200 OK')
  })
})

describe('HttpEdge closing', () => {
  it('lets running answers end and takes no new connection', async () => {
    let finish: (() => void) | undefined
    const slow = at('/x', async (_, response) => {
      finish = () => response.end('done')
    })
    await using gateway = await start({ handlers: [slow] })
    const { port } = gateway
    await using client = await RawClient.send(port, get('/x'))
    await using idle = await RawClient.send(port, '')
    // A connection is counted before its request was read.
    await until(() => gateway.edge.connectionCount === 2 && finish !== undefined)

    const closed = gateway.edge.close({ graceMs: 60_000 })
    await idle.closed()
    await using late = new RawClient(port)
    await late.closed()
    expect(client.isClosed).toBe(false)
    finish?.()
    await closed
    await client.closed()
    expect(client.body).toContain('done')
    await gateway.edge.close()
  })

  it('cuts viewers after the grace', async () => {
    await using origin = await FakeOrigin.start((socket) => void socket.write('HTTP/1.1 200 OK\r\n\r\nFLV'))
    const balancer = new FakeBalancer([origin.port])
    const clock = new ManualClock()
    await using gateway = await Gateway.start(balancer, {}, { clock })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.body === 'FLV')

    const closing = gateway.edge.close({ graceMs: 100 })
    clock.advance(99)
    expect(gateway.edge.connectionCount).toBe(1)
    clock.advance(1)
    await closing
    await viewer.closed()
    await until(() => origin.sockets.size === 0 && balancer.holds === 0)
  })
})

/** A listener of somebody else that hands HTTP to the edge, and answers STUN by its own bytes. */
async function sharedListener(
  edge: HttpEdge,
  options: Partial<TcpListenerOptions>,
): Promise<TcpListener & AsyncDisposable> {
  const listener = new TcpListener({
    listen: { host: '127.0.0.1', port: 0 },
    onConnection: (socket, { alpn }) => {
      void peekBytes(socket, 1, { timeoutMs: 5000 }).then((first) => {
        if (sharedPortProtocol(first?.[0], alpn) === 'http') edge.adopt(socket)
        else socket.on('data', (bytes: Buffer) => socket.end(bytes))
      })
    },
    ...options,
  })
  await listener.start()
  return Object.assign(listener, { [Symbol.asyncDispose]: () => listener.close() })
}

/** What an HTTPS request is answered. */
function ask(port: number, path: string, ca: string, body: Buffer | string = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', path, ca, method: 'POST', agent: false }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (bytes: Buffer) => parts.push(bytes))
      response.on('end', () => resolve(Buffer.concat(parts).toString()))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

describe('HttpEdge on connections that were accepted elsewhere', () => {
  const tellsClient = at('/who', async ({ socket }, response) => {
    response.end(`${socket.remoteAddress} ${'encrypted' in socket ? 'https' : 'http'}`)
  })
  const hashes = at('/hash', async (message, response) => {
    const hash = createHash('sha256')
    for await (const bytes of message) hash.update(bytes as Buffer)
    response.end(hash.digest('hex'))
  })

  it('HTTPS and STUN over TLS share a port, by first byte or ALPN', async () => {
    const certificate = await makeCertificate()
    await using gateway = await start({ handlers: [tellsClient, hashes], listen: [] })
    await using listener = await sharedListener(gateway.edge, {
      tls: { certificate, alpn: [...turnAlpn, 'http/1.1'] },
    })
    const port = listener.port ?? 0
    const body = Buffer.alloc(300_000, 'body')
    const hash = createHash('sha256').update(body).digest('hex')
    const stun = Buffer.from('000100002112a442000102030405060708090a0b', 'hex')
    const askStun = (ALPNProtocols: string[]): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        const client = connect({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols })
        client.on('error', reject)
        client.on('data', (bytes) => {
          client.end()
          resolve(bytes)
        })
        client.write(stun)
      })

    const answers = await Promise.all([
      ask(port, '/who', certificate.cert),
      ask(port, '/hash', certificate.cert, body),
      askStun([]),
      askStun(['stun.turn']),
    ])
    expect(answers).toEqual(['127.0.0.1 https', hash, stun, stun])
    await until(() => gateway.edge.connectionCount === 0)
  })

  it('plain HTTP behind a balancer shows the client, and is within the bounds of the edge', async () => {
    await using gateway = await start({ handlers: [tellsClient], maxConnectionsPerAddress: 1 })
    await using listener = await sharedListener(gateway.edge, { proxyProtocolFrom: ['127.0.0.1'] })
    const port = listener.port ?? 0
    const header = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 80\r\n'
    await using one = await RawClient.send(port, header + get('/who'))
    await until(() => one.body === '192.0.2.1 http')
    await using two = await RawClient.send(port, header + get('/who'))
    await two.closed()
    expect(two.text).toBe('')
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_TOO_MANY_CONNECTIONS')).toBe(1)
    await using other = await RawClient.send(port, header.replace('192.0.2.1', '192.0.2.2') + get('/who'))
    await until(() => other.body === '192.0.2.2 http')
  })

  it('does not wait for a slow client there either', async () => {
    await using gateway = await start({ listen: [], headTimeoutMs: 100, requestTimeoutMs: 100 })
    await using listener = await sharedListener(gateway.edge, {})
    await using client = await RawClient.send(listener.port ?? 0, 'GET / HTTP/1.1\r\nHost: ')
    await client.closed()
    expect(client.head).toContain('408 Request Timeout')
  })

  it('closing ends them, and nothing is adopted before start or after close', async () => {
    const sockets: Socket[] = []
    await using gateway = await start({ handlers: [], listen: [] })
    await using listener = await sharedListener(gateway.edge, {
      onConnection: (socket) => {
        sockets.push(socket)
        gateway.edge.adopt(socket)
      },
    })
    await using idle = await RawClient.send(listener.port ?? 0, '')
    await until(() => gateway.edge.connectionCount === 1)
    await gateway.edge.close()
    await idle.closed()
    await using late = await RawClient.send(listener.port ?? 0, get('/'))
    await late.closed()
    expect(late.text).toBe('')
    expect(sockets).toHaveLength(2)

    await gateway.edge.start()
    await using again = await RawClient.send(listener.port ?? 0, get('/', CLOSE))
    await again.closed()
    expect(again.head).toContain('404 Not Found')
  })
})
