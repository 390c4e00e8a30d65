import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { createLogger } from '../../../../mechanisms/telemetry/index.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'

const LIVE = 'HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nServer: SRS\r\n'

/** An origin that sends one text to every request, and then waits. */
const saying = (text: string) => (socket: Socket) => void socket.write(text, 'latin1')

/** One that sends it and ends the connection. */
const ending = (text: string) => (socket: Socket) => void socket.end(text, 'latin1')

/** An origin that sends as much as is taken, up to 200 MB. */
function flooding(): { answer: (socket: Socket) => void; readonly sent: number; isHeldBack: () => boolean } {
  const block = Buffer.alloc(65_536, 'x')
  let sent = 0
  let blockedAtMs = 0
  return {
    answer(socket) {
      socket.write(`${LIVE}\r\n`)
      const more = (): void => {
        let goesOn = true
        while (goesOn && sent < 200_000_000) {
          goesOn = socket.write(block)
          sent += block.length
        }
        blockedAtMs = performance.now()
      }
      socket.on('drain', more)
      more()
    },
    get sent() {
      return sent
    },
    isHeldBack: () => blockedAtMs > 0 && performance.now() - blockedAtMs > 100,
  }
}

describe('LiveProxy passes on', () => {
  it('a chunked live body as it comes, read by read', async () => {
    await using origin = await FakeOrigin.start(
      saying(`${LIVE}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nFLV\r\n`),
    )
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await until(() => viewer.body === '3\r\nFLV\r\n')
    expect(viewer.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(viewer.head).toContain('Content-Type: video/x-flv')
    expect(viewer.head).toContain('Server: SRS')
    expect(viewer.head).toContain('Transfer-Encoding: chunked')
    expect(viewer.head).toContain('Connection: close')
    expect(viewer.head).toContain('Access-Control-Allow-Origin: *')
    expect(balancer.keys).toEqual(['__defaultVhost__/live/s'])
    expect(balancer.kept).toEqual(['o0'])
    expect(balancer.holds).toBe(1)

    const [socket] = origin.sockets
    socket?.write('2\r\nab\r\n0\r\n\r\nBEYOND')
    await viewer.closed()
    expect(viewer.body).toBe('3\r\nFLV\r\n2\r\nab\r\n0\r\n\r\n')
    expect(balancer.holds).toBe(0)
    await until(() => origin.sockets.size === 0)
  })

  it('a body until the connection ends, without adding a framing', async () => {
    await using origin = await FakeOrigin.start(ending(`${LIVE}\r\nFLV until the end`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body).toBe('FLV until the end')
    expect(viewer.head).not.toMatch(/transfer-encoding|content-length/i)
  })

  it('a body of known length, and nothing beyond it', async () => {
    await using origin = await FakeOrigin.start(saying(`${LIVE}Content-Length: 5\r\n\r\n12345BEYOND`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.head).toContain('Content-Length: 5')
    expect(viewer.body).toBe('12345')
  })

  it('a large body byte for byte', async () => {
    const body = Buffer.alloc(3_000_000, 'a media stream that repeats; ')
    await using origin = await FakeOrigin.start((socket) => {
      socket.write(`${LIVE}Content-Length: ${body.length}\r\n\r\n`)
      socket.end(body)
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body === body.toString('latin1')).toBe(true)
    expect(await gateway.metric('sluice_http_bytes_total')).toBe(body.length)
  })

  it('path, query and end-to-end headers, and says who asks', async () => {
    await using origin = await FakeOrigin.start(ending(`${LIVE}\r\n`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), {
      clientOf: () => ({
        address: '192.0.2.7',
        isSecure: false,
        headers: [
          { name: 'X-Real-IP', value: '192.0.2.7' },
          { name: 'Forwarded', value: 'for=192.0.2.7' },
        ],
      }),
    })
    const headers =
      'Range: bytes=5-\r\nIf-Range: "x"\r\nAuthorization: Bearer t\r\nCookie: c=1\r\nUser-Agent: p\xe9\r\n' +
      'Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: no\r\nTE: gzip\r\n' +
      'X-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\n'
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv?token=x%20y&&a=b', headers))

    await viewer.closed()
    const [line, ...lines] = (origin.requests[0] ?? '').split('\r\n')
    expect(line).toBe('GET /live/s.flv?token=x%20y&&a=b HTTP/1.1')
    expect(lines.slice(0, -1)).toEqual([
      'Host: play.example.com:8080',
      'Range: bytes=5-',
      'If-Range: "x"',
      'Authorization: Bearer t',
      'Cookie: c=1',
      'User-Agent: p\xe9',
      'X-Real-IP: 192.0.2.7',
      'Forwarded: for=192.0.2.7',
      expect.stringMatching(/^Via: 1\.1 sluice-[0-9a-f]{12}$/),
    ])
    expect(lines.at(-1)).toBe('Connection: close')
  })

  it.each([
    [
      '404 Not Found',
      'Content-Length: 13\r\n\r\ngone: 10.0.0.1',
      '{"code":"HTTP_NOT_FOUND","message":"Not Found"}',
    ],
    ['302 Found', 'Location: /live/other.flv\r\nContent-Length: 0\r\n\r\n', ''],
    [
      '503 Service Unavailable',
      'Retry-After: 7\r\nContent-Length: 0\r\n\r\n',
      '{"code":"HTTP_ORIGIN_REFUSED","message":"Service Unavailable"}',
    ],
  ])('the refusal %s in our own words, and leaves no pick behind', async (status, rest, body) => {
    await using origin = await FakeOrigin.start(ending(`HTTP/1.1 ${status}\r\n${rest}`))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))

    await viewer.closed()
    expect(viewer.head).toContain(`HTTP/1.1 ${status}`)
    const [passed = ''] = rest.split('\r\n')
    if (!passed.startsWith('Content-Length')) expect(viewer.head).toContain(passed)
    expect(viewer.body).toBe(body)
    expect(balancer).toMatchObject({ kept: [], failed: [], released: ['o0'], holds: 0 })
    expect(gateway.live.listSessions()).toEqual([])
  })

  it('206 with its range', async () => {
    const partial =
      'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\n\r\nab'
    await using origin = await FakeOrigin.start(ending(partial))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.head).toMatch(/^HTTP\/1\.1 206 Partial Content\r\nContent-Range: bytes 1-2\/9/)
    expect(viewer.body).toBe('ab')
    expect(balancer).toMatchObject({ kept: ['o0'], holds: 0 })
  })

  it('HEAD, 204 and 304 without a body, and the connection lives on', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n',
      'HTTP/1.1 204 No Content\r\n\r\n',
      'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    ]
    await using origin = await FakeOrigin.start((socket) => void socket.write(answers.shift() ?? ''))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    const head = get('/live/s.flv').replace('GET', 'HEAD')
    await using viewer = await RawClient.send(gateway.port, head)
    await until(() => viewer.text.endsWith('\r\n\r\n'))
    viewer.socket.write(get('/live/s.flv'))
    await until(() => viewer.text.includes('204 No Content'))
    viewer.socket.write(get('/live/s.flv'))
    await until(() => viewer.text.includes('304 Not Modified'))

    expect(viewer.head).toContain('Content-Length: 500')
    expect(viewer.text).toContain('ETag: "x"')
    expect(origin.requests[0]).toMatch(/^HEAD /)
    expect(viewer.isClosed).toBe(false)
    await until(() => origin.sockets.size === 0)
    expect(balancer.holds).toBe(0)
  })

  it('the first bytes at once, and no head before the origin gave one', async () => {
    await using origin = await FakeOrigin.start(() => {})
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => origin.requests.length === 1)
    const [socket] = origin.sockets
    expect(viewer.text).toBe('')

    socket?.write(`${LIVE}\r\n`)
    await until(() => viewer.text.endsWith('\r\n\r\n'))
    socket?.write('F')
    await until(() => viewer.body === 'F')
  })
})

describe('LiveProxy and clients of HTTP/1.0', () => {
  it('asks the origin by HTTP/1.0', async () => {
    await using origin = await FakeOrigin.start(ending(`${LIVE}\r\nFLV`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', '', '1.0'))

    await viewer.closed()
    expect(origin.requests[0]).toMatch(/^GET \/live\/s\.flv HTTP\/1\.0\r\n/)
    expect(viewer.body).toBe('FLV')
  })

  it('takes a chunked framing out that comes all the same', async () => {
    await using origin = await FakeOrigin.start((socket) => {
      socket.write(`${LIVE}Transfer-Encoding: chunked\r\n\r\n3\r\nFL`)
      setImmediate(() => socket.write('V\r\nA\r\n0123456789\r\n0\r\n\r\n'))
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', '', '1.0'))

    await viewer.closed()
    expect(viewer.head).not.toMatch(/transfer-encoding/i)
    expect(viewer.body).toBe('FLV0123456789')
  })
})

const endless = (socket: Socket): void => {
  socket.write('HTTP/1.1 200 OK\r\n')
  const more = (): void => {
    while (socket.writable && socket.write('X-Endless: yes\r\n')) continue
  }
  socket.on('drain', more)
  more()
}

describe('LiveProxy when an origin fails', () => {
  const good = ending(`${LIVE}\r\nFLV`)

  it.each([
    ['nonsense', saying('SSH-2.0-OpenSSH_9\r\n')],
    ['an unsafe framing', saying(`${LIVE}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`)],
    ['an endless head', endless],
    ['nothing', ending('')],
    ['half a head', ending('HTTP/1.1 200 OK\r\n')],
    ['a reset', (socket: Socket) => void socket.resetAndDestroy()],
  ])('by %s, goes on to the next one', async (_, answer) => {
    await using bad = await FakeOrigin.start(answer)
    await using origin = await FakeOrigin.start(good)
    const balancer = new FakeBalancer([bad.port, origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(balancer).toMatchObject({ failed: [], released: ['o0'], kept: ['o1'] })
    await until(() => bad.sockets.size === 0)
  })

  it('by refusing connections, goes on to the next one', async () => {
    const dead = await FakeOrigin.start(good)
    const { port } = dead
    await dead[Symbol.asyncDispose]()
    await using origin = await FakeOrigin.start(good)
    const balancer = new FakeBalancer([port, origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(balancer).toMatchObject({ failed: ['o0'], kept: ['o1'] })
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ORIGIN_UNREACHABLE')).toBe(1)
  })

  it('by a head that comes too slowly, answers 504 without inner addresses', async () => {
    await using origin = await FakeOrigin.start(saying('HTTP/1.1 200 OK\r\nX: '))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { headTimeoutMs: 50 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))

    await viewer.closed()
    expect(viewer.head).toContain('504 Gateway Timeout')
    expect(viewer.head).toContain('Access-Control-Allow-Origin: *')
    expect(JSON.parse(viewer.body)).toEqual({ code: 'HTTP_ORIGIN_SILENT', message: 'Gateway Timeout' })
    // An origin that waits for a publisher is a good one, and no other one is asked.
    expect(balancer).toMatchObject({ failed: [], released: ['o0'] })
    await until(() => origin.sockets.size === 0)
  })

  it('and the next ones too, gives up after a bounded number', async () => {
    await using origin = await FakeOrigin.start(ending(''))
    const balancer = new FakeBalancer([origin.port, origin.port, origin.port, origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))

    await viewer.closed()
    expect(viewer.head).toContain('502 Bad Gateway')
    expect(viewer.text).not.toContain('127.0.0.1')
    expect(balancer).toMatchObject({ failed: [], released: ['o0', 'o1', 'o2'] })
  })

  it('within a chunked body, the viewer sees that it is not complete', async () => {
    await using origin = await FakeOrigin.start(ending(`${LIVE}Transfer-Encoding: chunked\r\n\r\n5\r\nab`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body).toBe('2\r\nab\r\n')
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ORIGIN_BROKE')).toBe(1)
  })

  it('by a broken chunked framing, cuts the body', async () => {
    await using origin = await FakeOrigin.start(saying(`${LIVE}Transfer-Encoding: chunked\r\n\r\nzz\r\n`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.body).toBe('')
    await until(() => origin.sockets.size === 0)
  })

  it('by redirecting to its own address, the viewer is sent to a path', async () => {
    await using origin = await FakeOrigin.start((socket) => {
      const { localPort = 0 } = socket
      socket.end(
        `HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:${localPort}/live/x.flv?a=b\r\nContent-Length: 0\r\n\r\n`,
      )
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(viewer.head).toContain('Location: /live/x.flv?a=b\r\n')
    expect(viewer.text).not.toContain('127.0.0.1')
  })

  it('again and again, has one line for each origin, and one for each client', async () => {
    const lines: string[] = []
    const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
    const clock = new ManualClock()
    await using origin = await FakeOrigin.start(ending(''))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { logger, clock })
    const ask = async (): Promise<void> => {
      const viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
      await viewer.closed()
    }
    for (let time = 0; time < 3; time++) await ask()
    const told = (): unknown[] => lines.map((line) => JSON.parse(line) as unknown)
    expect(told()).toMatchObject([
      { msg: 'origin failed', originId: 'o0', code: 'HTTP_ORIGIN_BAD_RESPONSE' },
      { msg: 'no origin', code: 'BALANCER_NO_ORIGIN', tried: 1 },
    ])
    clock.advance(60_000)
    await ask()
    expect(told().slice(2)).toMatchObject([
      { msg: 'origin failed', untold: 2 },
      { msg: 'no origin', untold: 2 },
    ])
  })

  it('by leading back to this gateway, says so instead of going round', async () => {
    const ports: number[] = []
    const balancer = new FakeBalancer(ports)
    const loop = {
      pick: (...args: Parameters<FakeBalancer['pick']>) => new FakeBalancer(ports).pick(...args),
    }
    await using gateway = await Gateway.start(loop)
    ports.push(gateway.port)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))

    await viewer.closed()
    expect(viewer.head).toContain('508 Loop Detected')
    expect(balancer.keys).toEqual([])
  })
})

describe('LiveProxy and viewers', () => {
  const live = saying(`${LIVE}\r\nFLV`)

  it.each([
    ['ends', (socket: Socket) => void socket.end()],
    ['is cut', (socket: Socket) => void socket.destroy()],
    ['is reset', (socket: Socket) => void socket.resetAndDestroy()],
  ])('whose connection %s end the request of a silent stream', async (_, leave) => {
    await using origin = await FakeOrigin.start(live)
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.body === 'FLV')
    expect(balancer.holds).toBe(1)

    leave(viewer.socket)
    await until(() => origin.sockets.size === 0 && balancer.holds === 0)
    expect(gateway.live.listSessions()).toEqual([])
  })

  it('who leave before the origin answered end the request, and no origin is blamed', async () => {
    await using origin = await FakeOrigin.start(() => {})
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => origin.requests.length === 1)

    viewer.socket.end()
    await until(() => origin.sockets.size === 0)
    expect(balancer).toMatchObject({ failed: [], released: ['o0'], kept: [] })
  })

  it('who leave without reading what waits for them end the request too', async () => {
    const flood = flooding()
    await using origin = await FakeOrigin.start(flood.answer)
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.text.length > 0)
    viewer.socket.pause()
    await until(() => flood.isHeldBack())

    viewer.socket.end()
    await until(() => origin.sockets.size === 0)
  })

  it('who are slow hold the origin back instead of filling memory', async () => {
    const flood = flooding()
    await using origin = await FakeOrigin.start(flood.answer)
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { stallMs: 300 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    viewer.socket.pause()

    await until(() => origin.accepted === 1 && origin.sockets.size === 0)
    expect(flood.sent).toBeLessThan(60_000_000)
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_CLIENT_STALLED')).toBe(1)
    expect(await gateway.metric('sluice_http_bytes_total')).toBeLessThan(30_000_000)
  })

  it('of a stream that stays silent are let go after the idle time', async () => {
    await using origin = await FakeOrigin.start(live)
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { idleMs: 60 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await viewer.closed()
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ORIGIN_IDLE')).toBe(1)
    await until(() => origin.sockets.size === 0)
  })

  it('are listed with what they got, and can be kicked', async () => {
    await using origin = await FakeOrigin.start(live)
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.body === 'FLV')

    const [session] = gateway.live.listSessions()
    expect(session).toMatchObject({
      protocol: 'http',
      role: 'play',
      streamKey: '__defaultVhost__/live/s',
      originId: 'o0',
      bytesIn: 0,
      bytesOut: 3,
    })
    expect(await gateway.metric('sluice_http_sessions')).toBe(1)
    expect(gateway.live.kickSession('nobody')).toBe(false)
    expect(gateway.live.kickSession(session?.id ?? '')).toBe(true)
    await viewer.closed()
    await until(() => origin.sockets.size === 0)
    expect(await gateway.metric('sluice_http_sessions')).toBe(0)
  })

  it('who pipeline get one answer after the other, and no request before its turn', async () => {
    let answers = 0
    await using origin = await FakeOrigin.start((socket) => {
      answers++
      socket.write(answers === 1 ? 'HTTP/1.1 304 Not Modified\r\n\r\n' : `${LIVE}\r\nFLV`)
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv').repeat(3))

    await until(() => viewer.text.endsWith('FLV'))
    expect(viewer.text).toMatch(/^HTTP\/1\.1 304[^]*HTTP\/1\.1 200 OK/)
    expect(origin.accepted).toBe(2)
    viewer.socket.end()
    await until(() => origin.sockets.size === 0)
    expect(origin.accepted).toBe(2)
  })

  it('ask with OPTIONS and are answered without an origin', async () => {
    const balancer = new FakeBalancer([])
    await using gateway = await Gateway.start(balancer)
    const preflight = get('/live/s.flv', 'Connection: close\r\n').replace('GET', 'OPTIONS')
    await using viewer = await RawClient.send(gateway.port, preflight)

    await viewer.closed()
    expect(viewer.head).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(viewer.head).toContain('Access-Control-Allow-Origin: *')
    expect(viewer.head).toContain('Access-Control-Allow-Headers: *, Authorization')
    expect(viewer.body).toBe('')
    expect(balancer.keys).toEqual([])
  })

  it.each([
    ['with a body', get('/live/s.flv', 'Content-Length: 3\r\n'), 400],
    ['by POST', get('/live/s.flv').replace('GET', 'POST'), 405],
    ['without a stream name', get('/live/.flv', 'Connection: close\r\n'), 400],
  ])('who ask %s are refused', async (_, request, status) => {
    const balancer = new FakeBalancer([])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, request)

    await until(() => viewer.text.endsWith('}'))
    expect(viewer.head).toContain(`HTTP/1.1 ${status} `)
    expect(balancer.keys).toEqual([])
  })

  it('1,000 in number come and go without a connection left behind', async () => {
    await using origin = await FakeOrigin.start(live)
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    const descriptorsBefore = openConnections()
    for (let batch = 0; batch < 20; batch++) {
      const viewers = await Promise.all(
        Array.from({ length: 50 }, () => RawClient.send(gateway.port, get('/live/s.flv'))),
      )
      await Promise.all(viewers.map((viewer) => until(() => viewer.body === 'FLV')))
      for (const viewer of viewers) viewer.socket.destroy()
      await until(() => origin.sockets.size === 0)
    }
    expect(origin.accepted).toBe(1000)
    await until(() => openConnections() <= descriptorsBefore)
    expect(balancer.holds).toBe(0)
    expect(gateway.live.listSessions()).toEqual([])
    await until(() => gateway.edge.connectionCount === 0)
  })
})

function openConnections(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length
}

describe('What the SRS proxy got wrong', () => {
  it('reference 9.3 no. 15: an origin says media type and how long to keep it, and the client is told', async () => {
    const head =
      'HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nCache-Control: no-cache\r\nX-Own: 1\r\nServer: SRS/7\r\n\r\n'
    await using origin = await FakeOrigin.start(ending(head))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.text.includes('\r\n\r\n'))
    for (const header of [
      'Content-Type: video/x-flv',
      'Cache-Control: no-cache',
      'X-Own: 1',
      'Server: SRS/7',
    ]) {
      expect(viewer.head).toContain(header)
    }
  })

  it.each(['flv', 'ts'])(
    'reference 9.3 no. 17: query, Range and conditional headers of a .%s reach the origin',
    async (extension) => {
      await using origin = await FakeOrigin.start(ending('HTTP/1.1 304 Not Modified\r\n\r\n'))
      await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
      const headers = 'Range: bytes=0-9\r\nIf-None-Match: "v"\r\nAuthorization: Bearer t\r\nX-Own: 1\r\n'
      await using viewer = await RawClient.send(
        gateway.port,
        get(`/live/s.${extension}?secret=x&secret=y`, headers),
      )
      await until(() => viewer.text.includes('\r\n\r\n'))
      expect(viewer.head).toContain('304 Not Modified')
      expect(origin.requests[0]).toContain(`GET /live/s.${extension}?secret=x&secret=y HTTP/1.1\r\n`)
      for (const header of headers.trim().split('\r\n')) expect(origin.requests[0]).toContain(header)
    },
  )

  it.each([404, 403, 503])('reference 9.3 no. 18: %i of an origin stays what it is', async (status) => {
    await using origin = await FakeOrigin.start(ending(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await viewer.closed()
    expect(viewer.head).toContain(`HTTP/1.1 ${status} `)
  })

  it('reference 9.3 no. 18: no error names an inner address, a port or an id', async () => {
    const gone = await FakeOrigin.start(ending(''))
    const { port } = gone
    await gone[Symbol.asyncDispose]()
    await using gateway = await Gateway.start(new FakeBalancer([port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await viewer.closed()
    expect(viewer.head).toContain('502 Bad Gateway')
    for (const inner of ['127.0.0.1', String(port), 'o0', 'svc-x', 'vid-x', 'ECONNREFUSED']) {
      expect(viewer.text).not.toContain(inner)
    }
  })

  it('reference 9.3 no. 19: the head goes out before any of the body, and who leaves ends the request', async () => {
    await using origin = await FakeOrigin.start(saying(`${LIVE}\r\n`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.text.endsWith('\r\n\r\n'))
    expect(origin.sockets.size).toBe(1)
    viewer.socket.end()
    await until(() => origin.sockets.size === 0)
  })
})
