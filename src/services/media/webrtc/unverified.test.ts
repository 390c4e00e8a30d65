import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { RtcSession } from '../../../mechanisms/balancer/index.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { checkThrough, startFleet, type TestFleet } from './fleet.testkit.ts'
import { check, openClient, type TestGateway } from './webrtc.testkit.ts'

const username = 'orig:clnt'

/** A session as an SRS proxy leaves it: nobody's, without a password. */
function leave({ shared, origin }: TestFleet, owner = ''): void {
  const { server, service, pid } = origin.announcement()
  shared.write(
    {
      streamKey: '__defaultVhost__/live/s' as RtcSession['streamKey'],
      role: 'play',
      username,
      originId: `${server}-${service}-${pid}` as RtcSession['originId'],
      originAddress: origin.udp.address,
      originPort: origin.udp.port,
    },
    owner,
  )
}

function unverified(gateway: TestGateway, result: string): Promise<number> {
  return gateway.metric(`sluice_webrtc_unverified_total{result="${result}"}`)
}

function refusals(gateway: TestGateway, count: number): Promise<void> {
  return eventually(async () => expect(await unverified(gateway, 'refused')).toBe(count))
}

/** What no password was told of, anybody may sign as he likes. */
const pwd = 'a-password-that-nobody-knows'

describe('a session without a password', () => {
  test('is refused unless it may be bound', async () => {
    const fleet = await startFleet()
    const { origin, b } = fleet
    leave(fleet)
    await (await openClient()).send(check(username, { pwd }), b.media)
    await refusals(b, 1)
    expect(await b.metric('sluice_webrtc_strangers_dropped_total{reason="unverified"}')).toBe(1)
    expect([origin.udp.received, b.service.listSessions()]).toEqual([[], []])
    expect(b.datapath.totals().endpoints).toBe(1)
  })

  test('goes to the first address that names it, and to no other, whatever that nominates', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { shared, origin, b, c } = fleet
    leave(fleet)
    const [first, thief] = [await openClient(), await openClient()]
    const socket = await checkThrough(first, b, origin, username, { pwd })
    expect(shared.ownerOf(username)).toBe('b')
    expect(await unverified(b, 'bound')).toBe(1)
    const nominating = check(username, { pwd, nominate: true })
    for (const gateway of [b, c]) await thief.send(nominating, gateway.media)
    // From the address that has it, to another of ours, too.
    await first.send(nominating, b.mediaAt('127.0.0.2'))
    expect((await origin.udp.next()).bytes).toEqual(nominating)
    await refusals(c, 1)
    await thief.send('media', b.media)
    await origin.udp.send('down', socket)
    expect(await first.next()).toMatchObject({ text: 'down', from: b.media })
    await first.send('up', b.media)
    expect((await origin.udp.next()).text).toBe('up')
    expect([origin.udp.received, thief.received, c.service.listSessions()]).toEqual([[], [], []])
    expect(await b.metric('sluice_webrtc_strangers_dropped_total{reason="unverified"}')).toBe(1)
  })

  test('is not taken from a living gateway, which can tell its client from others', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { shared, origin, b } = fleet
    leave(fleet, 'a')
    const client = await openClient()
    await client.send(check(username, { pwd }), b.media)
    await refusals(b, 1)
    shared.dead.add('a')
    await checkThrough(client, b, origin, username, { pwd })
    expect(shared.ownerOf(username)).toBe('b')
  })

  test('is bound by one of two gateways that are asked at once', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { shared, origin, b, c } = fleet
    leave(fleet)
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const clients = [await openClient(), await openClient()]
    for (const [i, gateway] of [b, c].entries()) {
      await clients[i]?.send(check(username, { pwd }), gateway.media)
    }
    await until(() => shared.lookups === 2, 'both to ask')
    open()
    await origin.udp.next()
    await eventually(async () => {
      expect((await unverified(b, 'refused')) + (await unverified(c, 'refused'))).toBe(1)
    })
    expect(origin.udp.received).toEqual([])
    const totals = [b, c].map((one) => one.datapath.totals())
    expect(totals.reduce((sum, { endpoints }) => sum + endpoints, 0)).toBe(3)
    expect([b, c].flatMap((one) => one.service.listSessions())).toHaveLength(1)
  })

  test('goes to one of two senders that come at once', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { shared, origin, b } = fleet
    leave(fleet)
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const [first, late] = [await openClient(), await openClient('127.0.0.2')]
    for (const one of [first, late]) await one.send(check(username, { pwd }), b.media)
    await until(() => b.datapath.totals().delivered.packets === 2, 'both')
    open()
    const { from } = await origin.udp.next()
    await refusals(b, 1)
    await late.send('media', b.media)
    await origin.udp.send('down', from)
    expect((await first.next()).text).toBe('down')
    expect([origin.udp.received, late.received]).toEqual([[], []])
  })

  test('is not bound while the store cannot say whose it is', async () => {
    const fleet = await startFleet((_, store) => ({
      unverified: 'bind-once',
      sessionStore: { ...store, takeSession: () => Promise.reject(new Error('away')) },
    }))
    const { origin, b } = fleet
    leave(fleet)
    await (await openClient()).send(check(username, { pwd }), b.media)
    await until(() => b.datapath.totals().delivered.packets === 1, 'the check')
    await eventually(async () => {
      const dropped = await b.metric('sluice_webrtc_strangers_dropped_total{reason="not-served"}')
      expect(dropped).toBe(1)
    })
    expect([origin.udp.received, b.service.listSessions()]).toEqual([[], []])
    expect(b.datapath.totals().endpoints).toBe(1)
  })

  test('ends with its address, and then nobody gets it', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ unverified: 'bind-once', clock })
    const { shared, origin, b, c } = fleet
    leave(fleet)
    const client = await openClient()
    await checkThrough(client, b, origin, username, { pwd })
    clock.advance(31_000)
    await until(() => shared.records.size === 0, 'its end')
    await client.send(check(username, { pwd }), b.media)
    await client.send(check(username, { pwd }), c.media)
    await until(
      () => c.datapath.totals().delivered.packets === 1 && b.datapath.totals().delivered.packets === 2,
      'both checks',
    )
    expect(b.service.listSessions()).toEqual([])
    expect(b.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
    expect(origin.seen).toEqual([])
  })

  test('gives its place up when the store says that another gateway has it', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { shared, origin, b } = fleet
    leave(fleet)
    await checkThrough(await openClient(), b, origin, username, { pwd })
    await shared.gateway('other').takeSession(username)
    await until(() => b.service.listSessions().length === 0, 'its end')
    expect(b.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
    expect(shared.records.size).toBe(1)
  })

  test('does not keep an address that is another session’s now', async () => {
    const fleet = await startFleet({ unverified: 'bind-once' })
    const { origin, b } = fleet
    leave(fleet)
    const client = await openClient()
    const bound = await checkThrough(client, b, origin, username, { pwd })
    const { username: own } = await b.open('mine', '/live/t/whip')
    const request = check(own)
    await client.send(request, b.media)
    const arrivals = [await origin.udp.next(), await origin.udp.next()]
    const fresh = arrivals.find(({ from }) => from.port !== bound.port)
    expect(fresh?.bytes).toEqual(request)
    await client.send('media', b.media)
    expect((await origin.udp.next()).from).toEqual(fresh?.from)
  })
})
