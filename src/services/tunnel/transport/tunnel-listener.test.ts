import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { ManualClock } from '../../../foundation/clock.ts'
import type { FrpcTransportConfig } from '../../../mechanisms/frp-config/index.ts'
import { loginLike, readToClose, roundTrip, soon, TunnelBench } from './tunnel-bench.testkit.ts'

interface Way {
  readonly protocol: FrpcTransportConfig['protocol']
  readonly tls: boolean
  readonly marker: boolean
  readonly tcpMux: boolean
}

const ways: readonly Way[] = (['tcp', 'websocket', 'wss'] as const).flatMap((protocol) =>
  [true, false].flatMap((tls) =>
    [true, false].flatMap((marker) => [true, false].map((tcpMux) => ({ protocol, tls, marker, tcpMux }))),
  ),
)

describe('clients of every kind', () => {
  it.each(ways.filter(({ protocol, tls, marker }) => tls || (!marker && protocol !== 'wss')))(
    'are served on one port: $protocol, TLS $tls, marker byte $marker, tcpMux $tcpMux',
    async ({ protocol, tls, marker, tcpMux }) => {
      await using bench = await TunnelBench.start()
      const link = await bench.connect({
        protocol,
        tcpMux,
        tls: { enable: tls, disableCustomTLSFirstByte: !marker },
      })
      const streams = await Promise.all([link.open(), link.open()])
      for (const stream of streams) {
        const sent = Buffer.concat([loginLike, randomBytes(300_000)])
        expect((await roundTrip(stream, sent)).equals(sent)).toBe(true)
      }
      expect(bench.accepted).toHaveLength(2)
      const [first, second] = bench.accepted
      expect(first?.peer).toMatchObject({
        remoteAddress: '127.0.0.1',
        localPort: bench.port,
        transport: protocol === 'tcp' ? 'tcp' : 'websocket',
        isTls: tls,
      })
      expect(first?.session === undefined).toBe(!tcpMux)
      expect(first?.session).toBe(second?.session)
      expect(bench.listener.counts).toMatchObject({
        connections: tcpMux ? 1 : 2,
        unauthenticated: 0,
        unintelligible: 0,
      })
    },
  )

  it('may be of both kinds, with tcpMux and without, at the same time', async () => {
    await using bench = await TunnelBench.start()
    const [withMux, without] = await Promise.all([
      bench.connect({ tcpMux: true }),
      bench.connect({ tcpMux: false }),
    ])
    for (const link of [withMux, without, withMux]) await roundTrip(await link.open())
    expect(bench.accepted.map(({ session }) => session !== undefined)).toEqual([true, false, true])
  })
})

describe('strangers', () => {
  it('two silent WebSocket clients do not delay a third', async () => {
    const clock = new ManualClock()
    await using bench = await TunnelBench.start({ clock })
    const silent = [1, 2].map(
      () => new WebSocket(`ws://127.0.0.1:${bench.port}/~!frp`, { origin: 'http://127.0.0.1' }),
    )
    await Promise.all(silent.map((webSocket) => once(webSocket, 'open')))
    const link = await bench.connect({ protocol: 'websocket' })
    await roundTrip(await link.open())
    // Time stood still: nothing was waited for.
    expect(bench.listener.counts.unauthenticated).toBe(2)
    clock.advance(10_000)
    await Promise.all(silent.map((webSocket) => once(webSocket, 'close')))
    await soon(() => bench.listener.counts.unauthenticated).toBe(0)
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a TLS handshake', Buffer.from('160301020001000100', 'hex')],
    ['a TLS record that does not come', Buffer.from('16030102000100010003030303030303', 'hex')],
    ['the marker byte', Buffer.from([0x17])],
    ['half a request', Buffer.from('GET /~!frp HTTP/1.1\r\nHost: a\r\n')],
    ['half a first message', Buffer.from('o')],
  ])('who says %s is cut after ten seconds, and delays nobody', async (_what, bytes) => {
    const clock = new ManualClock()
    await using bench = await TunnelBench.start({ clock })
    const socket = await bench.dial()
    const closed = readToClose(socket)
    socket.write(bytes)
    const link = await bench.connect()
    await roundTrip(await link.open())
    clock.advance(9000)
    expect(bench.listener.counts.unauthenticated).toBe(1)
    // The step that it waits in may have begun with the bytes.
    await soon(() => {
      clock.advance(1000)
      return bench.listener.counts.unauthenticated
    }).toBe(0)
    await closed
    expect(bench.listener.counts.unintelligible).toBe(1)
    expect((await roundTrip(await link.open())).length).toBe(loginLike.length)
  })

  it('random bytes are closed at once', async () => {
    await using bench = await TunnelBench.start()
    for (let round = 0; round < 50; round++) {
      const socket = await bench.dial()
      const closed = readToClose(socket)
      socket.end(Buffer.concat([Buffer.from([0x80 + round]), randomBytes(100)]))
      await closed
    }
    expect(bench.listener.counts).toMatchObject({ unintelligible: 50, unauthenticated: 0, connections: 0 })
    expect(bench.accepted).toEqual([])
  })

  it('random bytes within TLS and within a WebSocket as well', async () => {
    await using bench = await TunnelBench.start()
    const tls = connectTls({ port: bench.port, host: '127.0.0.1', rejectUnauthorized: false })
    tls.on('error', () => undefined)
    await once(tls, 'secureConnect')
    tls.write(Buffer.alloc(20, 0xaa))
    await readToClose(tls)
    const webSocket = new WebSocket(`ws://127.0.0.1:${bench.port}/~!frp`, { origin: 'http://127.0.0.1' })
    await once(webSocket, 'open')
    webSocket.send(Buffer.alloc(20, 0xaa))
    await once(webSocket, 'close')
    await soon(() => bench.listener.counts.connections).toBe(0)
    expect(bench.listener.counts.unintelligible).toBe(2)
  })

  it('checks of health, which connect and leave, are no fault', async () => {
    await using bench = await TunnelBench.start()
    for (const leave of ['resetAndDestroy', 'end'] as const) {
      const socket = await bench.dial()
      await soon(() => bench.listener.counts.connections).toBe(1)
      socket[leave]()
      await soon(() => bench.listener.counts.connections).toBe(0)
    }
    expect(bench.listener.counts.unintelligible).toBe(0)
  })

  it.each([
    ['in all', { maxUnauthenticated: 100, maxUnauthenticatedPerAddress: 5000 }],
    ['per address', { maxUnauthenticated: 5000, maxUnauthenticatedPerAddress: 100 }],
  ])('2,000 silent connections are bounded %s, and a client still logs in', async (_which, limits) => {
    await using bench = await TunnelBench.start({ limits })
    const client = await bench.connect()
    await roundTrip(await client.open())
    const silent: Socket[] = []
    for (let batch = 0; batch < 20; batch++) {
      silent.push(...(await Promise.all(Array.from({ length: 100 }, () => bench.dial()))))
      await soon(() => bench.listener.counts.connections).toBeLessThanOrEqual(101)
    }
    for (const socket of silent) socket.resume()
    await soon(() => bench.listener.counts.displaced).toBe(1900)
    expect(bench.listener.counts.unauthenticated).toBe(100)
    // Who had logged in is not touched, and who comes now displaces one more.
    await roundTrip(await client.open())
    const late = await bench.connect()
    await roundTrip(await late.open())
    expect(bench.listener.counts).toMatchObject({ displaced: 1901, unauthenticated: 99 })
  })

  it('those of one address do not displace those of another', async () => {
    const limits = { maxUnauthenticated: 100, maxUnauthenticatedPerAddress: 3 }
    await using bench = await TunnelBench.start({ limits, proxyProtocolFrom: ['127.0.0.1'] })
    const others = await bench.dial()
    others.write('PROXY TCP4 192.0.2.1 192.0.2.9 1 7000\r\n')
    await soon(() => bench.listener.counts.unauthenticated).toBe(1)
    for (let count = 0; count < 10; count++) {
      const socket = await bench.dial()
      socket.write('PROXY TCP4 192.0.2.2 192.0.2.9 1 7000\r\n')
    }
    await soon(() => bench.listener.counts.displaced).toBe(7)
    expect(bench.listener.counts.unauthenticated).toBe(4)
    expect(others.destroyed).toBe(false)
  })

  it('a session that nobody logs in on gets four streams and half a minute', async () => {
    const clock = new ManualClock()
    await using bench = await TunnelBench.start({ clock, echoes: false })
    const link = await bench.connect()
    let isClosed = false
    link.onClose(() => {
      isClosed = true
    })
    const streams = await Promise.all(Array.from({ length: 10 }, () => link.open()))
    for (const stream of streams) stream.write(loginLike)
    await soon(() => bench.listener.counts.refusedStreams).toBe(6)
    expect(bench.accepted).toHaveLength(4)
    clock.advance(29_999)
    expect(bench.listener.counts.unauthenticated).toBe(1)
    clock.advance(1)
    await soon(() => isClosed).toBe(true)
    await soon(() => bench.listener.counts.unauthenticated).toBe(0)
  })

  it('a session that has logged in gets more of both', async () => {
    const clock = new ManualClock()
    await using bench = await TunnelBench.start({ clock, echoes: false })
    const link = await bench.connect()
    const first = await link.open()
    first.write(loginLike)
    await soon(() => bench.accepted.length).toBe(1)
    expect(bench.listener.counts.unauthenticated).toBe(1)
    bench.accepted[0]?.admit()
    bench.accepted[0]?.admit()
    expect(bench.listener.counts.unauthenticated).toBe(0)
    const streams = await Promise.all(Array.from({ length: 10 }, () => link.open()))
    for (const stream of streams) stream.write(loginLike)
    await soon(() => bench.accepted.length).toBe(11)
    clock.advance(20_000)
    expect(bench.listener.counts).toMatchObject({ refusedStreams: 0, connections: 1 })
  })
})

describe('the port', () => {
  it('believes the PROXY protocol of its balancers', async () => {
    await using bench = await TunnelBench.start({ proxyProtocolFrom: ['127.0.0.0/8'] })
    const socket = await bench.dial()
    socket.write(`PROXY TCP4 192.0.2.7 192.0.2.9 5555 7000\r\n${loginLike.toString()}`)
    const [echoed]: Buffer[] = await once(socket, 'data')
    expect(echoed?.equals(loginLike)).toBe(true)
    expect(bench.accepted[0]?.peer).toMatchObject({ remoteAddress: '192.0.2.7', remotePort: 5555 })
    expect(bench.accepted[0]?.peer).toMatchObject({ localAddress: '192.0.2.9', localPort: 7000 })
  })

  it('cuts all at its close', async () => {
    const bench = await TunnelBench.start()
    const link = await bench.connect()
    const closed = new Promise<void>((resolve) => link.onClose(() => resolve()))
    await roundTrip(await link.open())
    const silent = await bench.dial()
    const gone = readToClose(silent)
    await bench[Symbol.asyncDispose]()
    await Promise.all([closed, gone])
    expect([bench.listener.port, bench.listener.counts.connections]).toEqual([undefined, 0])
  })

  it('a session can be cut by the server, and tells of its end', async () => {
    await using bench = await TunnelBench.start()
    const link = await bench.connect()
    await roundTrip(await link.open())
    const { session } = bench.accepted[0] ?? {}
    const ended = new Promise<void>((resolve) => session?.onClose(() => resolve()))
    const lost = new Promise<void>((resolve) => link.onClose(() => resolve()))
    session?.destroy()
    await Promise.all([ended, lost])
    await expect(link.open()).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
  })
})

describe('HTTP on the port', () => {
  const request = 'GET /index.html HTTP/1.1\r\nHost: a.example.com\r\n\r\n'

  async function ask(bench: TunnelBench, text: string): Promise<string> {
    const socket = await bench.dial()
    const answer = readToClose(socket)
    socket.write(text)
    return await answer
  }

  function upgrade(path: string, origin: string): string {
    return (
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${origin}\r\n`
    )
  }

  it('is answered 404 where no vhost shares the port, also within TLS', async () => {
    await using bench = await TunnelBench.start()
    expect(await ask(bench, request)).toMatch(/^HTTP\/1\.1 404 /)
    expect(await ask(bench, upgrade('/~!frpx', 'Origin: http://a\r\n'))).toMatch(/^HTTP\/1\.1 404 /)
    expect(await ask(bench, upgrade('/other', 'Origin: http://a\r\n'))).toMatch(/^HTTP\/1\.1 404 /)
    const tls = connectTls({ port: bench.port, host: '127.0.0.1', rejectUnauthorized: false })
    tls.write(request)
    expect(await readToClose(tls)).toMatch(/^HTTP\/1\.1 404 /)
    await soon(() => bench.listener.counts.connections).toBe(0)
  })

  it('a WebSocket without an origin is refused, as by frps', async () => {
    await using bench = await TunnelBench.start()
    expect(await ask(bench, upgrade('/~!frp', ''))).toMatch(/^HTTP\/1\.1 403 /)
    expect(await ask(bench, upgrade('/~!frp', 'Origin: nonsense\r\n'))).toMatch(/^HTTP\/1\.1 403 /)
    await soon(() => bench.listener.counts.connections).toBe(0)
  })

  it('belongs to the vhost that shares the port, whole, but for the WebSocket', async () => {
    const seen: string[] = []
    await using bench = await TunnelBench.start({
      onHttp: (socket, info) => {
        socket.once('data', (bytes: Buffer) => {
          seen.push(`${info.remoteAddress} ${bytes.toString()}`)
          socket.end('HTTP/1.1 204 No Content\r\n\r\n')
        })
      },
    })
    expect(await ask(bench, request)).toMatch(/^HTTP\/1\.1 204 /)
    expect(seen).toEqual([`127.0.0.1 ${request}`])
    for (const protocol of ['websocket', 'wss', 'tcp'] as const) {
      const link = await bench.connect({ protocol })
      await roundTrip(await link.open())
    }
    expect(bench.listener.counts.unauthenticated).toBe(0)
  })

  it('TLS belongs to the HTTPS vhost that shares the port, but behind the marker byte', async () => {
    const seen: number[] = []
    await using bench = await TunnelBench.start({
      onHttps: (socket) => {
        socket.once('data', (bytes: Buffer) => {
          seen.push(bytes[0] ?? 0)
          socket.destroy()
        })
      },
    })
    await expect(bench.connect()).rejects.toMatchObject({ code: 'TUNNEL_UNREACHABLE' })
    expect(seen).toEqual([0x16])
    const link = await bench.connect({ tls: { disableCustomTLSFirstByte: false } })
    await roundTrip(await link.open())
  })
})
