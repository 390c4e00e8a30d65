import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import { until } from '../../src/mechanisms/datapath/udp-peer.testkit.ts'
import { check, FakeOrigin, openClient, TestGateway } from '../../src/services/media/webrtc/webrtc.testkit.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { openStores, type StoreMember } from './store-fleet.ts'

let server: RedisProcess
let tests = 0

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

interface Member {
  readonly gateway: TestGateway
  readonly member: StoreMember
}

/** Gateways of one process on one Redis, and an origin that announced itself to the first of them. */
async function fleet(): Promise<{
  readonly clock: ManualClock
  readonly origin: FakeOrigin
  readonly a: Member
  readonly b: Member
  readonly c: Member
}> {
  const clock = new ManualClock()
  const origin = await FakeOrigin.start()
  const stores = await openStores(3, { redis: { url: server.url, prefix: `webrtc-${tests++}` } })
  const members: Member[] = []
  for (const member of stores) {
    const { store } = member
    onTestFinished(() => member[Symbol.asyncDispose]())
    const gateway = await TestGateway.start({ balancer: store, sessionStore: store, origins: store, clock })
    members.push({ gateway, member })
  }
  await stores[0]?.store.announce(origin.announcement())
  const [a, b, c] = members as [Member, Member, Member]
  return { clock, origin, a, b, c }
}

const count = ({ gateway }: Member): number => gateway.service.listSessions().length

describe('a WebRTC session over a real Redis', () => {
  test('goes from gateway to gateway and back under media, and ends by a DELETE at another one', async () => {
    const { clock, origin, a, b, c } = await fleet()
    const opened = await a.gateway.open('clnt')
    const client = await openClient()
    for (const one of [b, a, c, b]) {
      clock.advance(1100)
      const request = check(opened.username, { nominate: true })
      await client.send(request, one.gateway.media)
      const { bytes, from } = await origin.udp.next()
      expect(bytes).toEqual(request)
      await origin.udp.send('down', from)
      expect(await client.next()).toMatchObject({ text: 'down', from: one.gateway.media })
      await until(() => [a, b, c].every((m) => count(m) === (m === one ? 1 : 0)), 'one to serve it')
    }
    const elsewhere = c.gateway.url + new URL(opened.location).pathname
    expect((await fetch(elsewhere, { method: 'DELETE' })).status).toBe(200)
    await until(() => [a, b, c].every((m) => count(m) === 0), 'its end')
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
    expect(origin.udp.received).toEqual([])
  })

  test('goes on when its gateway is killed', async () => {
    const { origin, a, b, c } = await fleet()
    const { username, location } = await a.gateway.open('clnt', '/live/s/whep')
    const client = await openClient()
    await client.send(check(username, { nominate: true }), a.gateway.media)
    await origin.udp.next()
    await a.member.kill()
    await client.send(check(username), b.gateway.media)
    const { from } = await origin.udp.next()
    await origin.udp.send('down', from)
    expect((await client.next()).from).toEqual(b.gateway.media)
    const elsewhere = c.gateway.url + new URL(location).pathname
    expect((await fetch(elsewhere, { method: 'DELETE' })).status).toBe(200)
    await until(() => count(b) === 0, 'its end')
  })
})
