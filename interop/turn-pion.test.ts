import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from './harness/until.ts'
import { openTcpEcho, openUdpEcho } from './turn/echo-peer.ts'
import { buildPionClient, mappedAddress, relayStreams, startRelay } from './turn/pion-client.ts'
import { startTurnServer, type TurnServerUnderTest } from './turn/turn-server.ts'

let server: TurnServerUnderTest

beforeAll(async () => {
  await buildPionClient()
  server = await startTurnServer()
}, 300_000)

afterAll(async () => {
  await server[Symbol.asyncDispose]()
})

describe.for(['udp', 'tcp', 'tls'] as const)('the client of pion over %s', (transport) => {
  test('is told its own address', async () => {
    expect(await mappedAddress(server, transport)).toMatch(/^127\.0\.0\.1:\d+$/)
  })

  test.for([20, 1200])('gets every datagram of %i bytes back, whole and once', async (size) => {
    await using peer = await openUdpEcho()
    await using relay = await startRelay(server, transport, peer, { intervalMs: 1, size })
    await until('500 echoes', () => peer.echoed.packets >= 500)
    const report = await relay.finish()
    expect(report).toMatchObject({ received: report.sent, lost: 0, broken: 0, twice: 0 })
    expect(report.bytes).toBe(report.sent * size)
    expect(peer.echoed).toEqual({ packets: report.sent, bytes: report.bytes })
  })

  test('may ask for its permission again while it relays', async () => {
    await using peer = await openUdpEcho()
    await using relay = await startRelay(server, transport, peer, { renewMs: 20 })
    await until('200 echoes', () => peer.echoed.packets >= 200)
    const report = await relay.finish()
    expect(report).toMatchObject({ received: report.sent, lost: 0 })
    expect(report.renewals).toBeGreaterThan(10)
  })
})

describe.for(['tcp', 'tls'] as const)('TCP allocations of the client of pion over %s', (transport) => {
  test('a megabyte arrives over a connection out, and both ways over one in', async () => {
    await using peer = await openTcpEcho()
    const report = await relayStreams(server, transport, peer, 1_000_000)
    expect(report).toMatchObject({ outBytes: 1_000_000, inBytes: 1_000_000, backBytes: 1_000_000 })
    expect(report.seenFrom).toBe(report.from)
    expect(peer.echoed.bytes).toBe(1_000_000)
  })
})
