import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasRealFrp, type Make } from './tunnel/frp-program.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { askHttp, askHttps, connectThrough, digestTcp, echoTcp, echoUdp } from './tunnel/probes.ts'
import { Rig, type Way } from './tunnel/rig.ts'

let services: LocalServices

beforeAll(async () => {
  services = await LocalServices.start()
})

afterAll(async () => {
  await services[Symbol.asyncDispose]()
})

const both = [true, false]
const layers = [
  { encryption: false, compression: false },
  { encryption: true, compression: false },
  { encryption: false, compression: true },
  { encryption: true, compression: true },
]
const plain = { encryption: false, compression: false }
/** The real frps does not end wss itself. */
const webSocketWays: Way[] = [
  { protocol: 'websocket', wire: 'v1', mux: true, tls: true, ...plain },
  { protocol: 'websocket', wire: 'v2', mux: true, tls: false, ...plain },
  { protocol: 'websocket', wire: 'v1', mux: false, tls: true, ...plain },
  { protocol: 'wss', wire: 'v1', mux: true, tls: true, ...plain },
  { protocol: 'wss', wire: 'v2', mux: false, tls: true, ...plain },
]
const tcpWays: Way[] = (['v1', 'v2'] as const).flatMap((wire) =>
  both.flatMap((mux) => both.flatMap((tls) => layers.map((layer) => ({ wire, mux, tls, ...layer })))),
)

const ways = [...tcpWays.map((way) => ({ ...way, protocol: 'tcp' as const })), ...webSocketWays]

const pairs: { server: Make; client: Make }[] = [
  { server: 'sluice', client: 'sluice' },
  { server: 'sluice', client: 'frp' },
  { server: 'frp', client: 'sluice' },
]

describe.each(pairs)('frps of $server, frpc of $client', ({ server, client }) => {
  const isReal = server === 'frp' || client === 'frp'

  describe
    .skipIf(isReal && !hasRealFrp)
    .each(ways.filter(({ protocol }) => protocol !== 'wss' || server === 'sluice'))(
    '$protocol, wire $wire, mux $mux, tls $tls, encryption $encryption, compression $compression',
    (way) => {
      test('every type of proxy carries what it is given', { timeout: 60_000 }, async () => {
        await using rig = await Rig.start(server, client, way, services)
        const { ports } = rig
        await echoTcp(ports.tcp, 300_000)
        await Promise.all(Array.from({ length: 20 }, () => echoTcp(ports.tcp, 1000)))
        await echoUdp(ports.udp, [1, 1200, 1400])
        const body = randomBytes(100_000)
        const { status, seen } = await askHttp(ports.http, 'web.test', { path: '/a?b=c', body })
        expect(status).toBe(200)
        expect(seen).toMatchObject({ method: 'POST', url: '/a?b=c', bodyBytes: 100_000 })
        expect(seen.headers).toMatchObject({ host: 'web.test', 'x-forwarded-for': '127.0.0.1' })
        expect(await askHttps(ports.https, 'secure.test')).toContain('"url":"/secure"')
        await echoTcp(0, 50_000, await connectThrough(ports.connect, 'mux.test:80'))
        await echoTcp(ports.stcp, 100_000)
        await echoUdp(ports.sudp, [1, 1200])
        // frp's programs end both directions together, and so does a WebSocket that is one connection.
        if (isReal || (way.protocol !== 'tcp' && !way.mux)) return
        const { answer, right } = await digestTcp(ports.digest, 500_000)
        expect(answer).toBe(right)
      })
    },
  )
})
