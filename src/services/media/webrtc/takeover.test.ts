import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { MemoryBalancerStore, originIdOf, type RtcSession } from '../../../mechanisms/balancer/index.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../../../protocols/stun/index.ts'
import { checkThrough, servedBy, startFleet } from './fleet.testkit.ts'
import { check, FakeOrigin, openClient, type TestGateway } from './webrtc.testkit.ts'

/** The counter of what was dropped for this reason. */
function dropped(gateway: TestGateway, reason: string): Promise<number> {
  return gateway.metric(`sluice_webrtc_strangers_dropped_total{reason="${reason}"}`)
}

function result(gateway: TestGateway, name: 'lookups' | 'takeovers', value: string): Promise<number> {
  return gateway.metric(`sluice_webrtc_${name}_total{result="${value}"}`)
}

/** Resolves when so many look-ups ended so. */
function checkLookups(gateway: TestGateway, value: string, count: number): Promise<void> {
  return eventually(async () => expect(await result(gateway, 'lookups', value)).toBe(count))
}

function servedByB(a: TestGateway, b: TestGateway): Promise<void> {
  const count = (gateway: TestGateway): number => gateway.service.listSessions().length
  return until(() => count(a) === 0 && count(b) === 1, 'the hand-over')
}

/** Nothing of any session is left in a gateway but its media port. */
async function expectFree(gateway: TestGateway): Promise<void> {
  expect(gateway.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
  for (const { publishers, players } of await gateway.store.streams()) {
    expect([publishers, players]).toEqual([0, 0])
  }
}

describe('media that arrives at another gateway', () => {
  test('is served there once a check proved its session; the check is passed on, and the first gateway told', async () => {
    const fleet = await startFleet()
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    expect((await a.store.streams())[0]).toMatchObject({ publishers: 1 })
    const client = await openClient()
    const socket = await checkThrough(client, b, origin, username, { nominate: true })
    await servedBy(fleet, 'b', username, b, a)
    await client.send('to the origin', b.media)
    expect((await origin.udp.next()).text).toBe('to the origin')
    await origin.udp.send('to the client', socket)
    const back = await client.next()
    expect([back.text, back.from]).toEqual(['to the client', b.media])
    expect(origin.udp.received).toEqual([])
    expect(b.service.listSessions()[0]).toMatchObject({ role: 'publish', bytesOut: 13 })
    expect(b.service.listSessions()[0]?.id).toMatch(/^webrtc-[\da-f]{16}$/)
    expect((await b.store.streams())[0]).toMatchObject({ publishers: 1 })
    expect((await a.store.streams())[0]).toMatchObject({ publishers: 0 })
    // What stands by keeps no gateway from ending that drains.
    expect([a.service.sessionCount, b.service.sessionCount]).toEqual([0, 1])
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
    expect(shared.lookups).toBe(1)
    expect([await result(b, 'lookups', 'found'), await result(b, 'takeovers', 'taken')]).toEqual([1, 1])
    expect(await a.metric('sluice_webrtc_sessions_ended_total{reason="taken"}')).toBe(1)
    expect(await a.metric('sluice_webrtc_sessions{role="publish"}')).toBe(0)
    expect(await b.metric('sluice_webrtc_sessions{role="publish"}')).toBe(1)
  })

  test('comes and goes between gateways any number of times, each datagram once, and leaves nothing behind', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ clock })
    const { origin, a, b, c } = fleet
    const { username, location } = await a.open('clnt')
    const bystander = await c.open('byst', '/live/other/whip')
    const bystanderId = c.service.listSessions()[0]?.id
    const client = await openClient()
    const sent: string[] = []
    const names = ['a', 'b', 'c'] as const
    const owners = ['a', 'b', 'c', 'b', 'a', 'c', 'a'] as const
    const counts = (gateways: readonly TestGateway[]): readonly number[] =>
      gateways.map((one) => one.service.listSessions().filter(({ id }) => id !== bystanderId).length)
    for (const [round, nameOf] of owners.entries()) {
      const gateway = fleet[nameOf]
      clock.advance(2000)
      const socket = await checkThrough(client, gateway, origin, username, { nominate: true })
      await until(
        () => counts([a, b, c]).join() === names.map((name) => (name === nameOf ? 1 : 0)).join(),
        `gateway ${nameOf} to serve alone`,
      )
      for (let i = 0; i < 5; i++) {
        const text = `up ${round} ${i}`
        sent.push(text)
        await client.send(text, gateway.media)
        expect(await origin.udp.next()).toMatchObject({ text, from: socket })
        await origin.udp.send(`down ${round} ${i}`, socket)
        expect(await client.next()).toMatchObject({ text: `down ${round} ${i}`, from: gateway.media })
      }
    }
    expect(origin.udp.received).toEqual([])
    expect(client.received).toEqual([])
    for (const [i, gateway] of [a, b, c].entries()) {
      const stream = (await gateway.store.streams()).find(({ key }) => key.endsWith('/live/s'))
      expect(stream?.publishers, names[i]).toBe(counts([a, b, c])[i])
    }
    const packets = await Promise.all(
      [a, b, c].map((one) => one.metric('sluice_webrtc_packets_total{direction="from_client"}')),
    )
    expect(packets.reduce((sum, one) => sum + one, 0)).toBe(sent.length + owners.length)
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(200)
    expect((await fetch(bystander.location, { method: 'DELETE' })).status).toBe(200)
    // Where it stood by it is idle in the end, and its origin is not told a second time.
    clock.advance(31_000)
    for (const gateway of [a, b, c]) await expectFree(gateway)
    expect(fleet.shared.records.size).toBe(0)
    expect(origin.seen.filter(({ method }) => method === 'DELETE')).toHaveLength(2)
  })

  test('leaves its place to the next where there is no other, though it stands by', async () => {
    const fleet = await startFleet({ maxSessions: 1 })
    const { origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username, { nominate: true })
    await servedBy(fleet, 'b', username, b, a)
    const next = await a.open('next', '/live/other/whip')
    expect(a.datapath.totals().endpoints).toBe(2)
    await checkThrough(await openClient(), a, origin, next.username)
    await client.send('goes on', b.media)
    expect((await origin.udp.next()).text).toBe('goes on')
    expect(fleet.shared.ownerOf(username)).toBe('b')
    // What is served gives no place away.
    await (await openClient()).send(check(username), a.media)
    await eventually(async () => expect(await dropped(a, 'not-served')).toBe(1))
  })

  test('of two paths at two gateways goes on while both are checked, and the nominated one decides', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ clock })
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const [main, second] = [await openClient(), await openClient()]
    const viaA = await checkThrough(main, a, origin, username, { nominate: true })
    const viaB = await checkThrough(second, b, origin, username)
    await servedBy(fleet, 'b', username, b, a)
    // The origin may follow either socket; both lead to the client.
    for (const [socket, path, gateway] of [
      [viaA, main, a],
      [viaB, second, b],
    ] as const) {
      await origin.udp.send('down', socket)
      expect((await path.next()).from).toEqual(gateway.media)
      await path.send('up', gateway.media)
      expect((await origin.udp.next()).from).toEqual(socket)
    }
    // No more often than once a second, or a client could keep the store busy.
    await checkThrough(main, a, origin, username, { nominate: true })
    expect(shared.ownerOf(username)).toBe('b')
    clock.advance(1000)
    await checkThrough(main, a, origin, username, { nominate: true })
    await servedBy(fleet, 'a', username, a, b)
    clock.advance(1000)
    await checkThrough(second, b, origin, username)
    await checkThrough(await openClient(), b, origin, username)
    await checkThrough(main, a, origin, username)
    expect(shared.ownerOf(username)).toBe('a')
    expect(await a.metric('sluice_webrtc_sessions_ended_total{reason="taken"}')).toBe(1)
  })

  test('is not led there by a request that another password signed', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    const client = await openClient()
    await client.send(check(username, { pwd: 'x'.repeat(24) }), b.media)
    await until(() => shared.lookups === 1, 'a look-up')
    await until(() => b.service.listSessions().length === 0, 'the answer')
    await checkThrough(client, b, origin, username)
    expect(await dropped(b, 'integrity')).toBe(1)
    expect(origin.udp.received).toEqual([])
    expect(await result(b, 'takeovers', 'taken')).toBe(1)
  })

  test('goes on when the gateway that began it is gone', async () => {
    const fleet = await startFleet()
    const { shared, origin, a, b, c } = fleet
    const { username } = await a.open('clnt', '/live/s/whep')
    const client = await openClient()
    await checkThrough(client, a, origin, username, { nominate: true })
    shared.dead.add('a')
    await a.datapath.close()
    const socket = await checkThrough(client, b, origin, username, { nominate: true })
    await origin.udp.send('goes on', socket)
    expect((await client.next()).text).toBe('goes on')
    shared.dead.add('b')
    await checkThrough(client, c, origin, username)
    await servedBy(fleet, 'c', username, c)
  })

  test('of one that stands by is served there when the one that served it is gone', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ clock, leaveOnClose: true })
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, a, origin, username)
    await checkThrough(client, b, origin, username)
    await servedBy(fleet, 'b', username, b, a)
    await b.service.close()
    shared.dead.add('b')
    for (let i = 0; i < 4; i++) {
      clock.advance(10_000)
      const socket = await checkThrough(client, a, origin, username)
      await origin.udp.send('alive', socket)
      await client.next()
    }
    clock.advance(1000)
    await servedBy(fleet, 'a', username, a)
  })

  test('a message that was lost costs a session nothing: what is idle here and lives there is only dropped', async () => {
    const clock = new ManualClock()
    const fleet = await startFleet({ clock })
    const { shared, origin, a, b } = fleet
    shared.losesMessages = true
    const { username } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username, { nominate: true })
    for (let i = 0; i < 4; i++) {
      clock.advance(10_000)
      const socket = await checkThrough(client, b, origin, username, { nominate: true })
      await origin.udp.send('alive', socket)
      await client.next()
    }
    await until(() => a.service.listSessions().length === 0, 'the first gateway to let go')
    // Until then both held it for their own.
    expect(shared.renewals).toEqual(['a', 'b', 'b'])
    expect(b.service.listSessions()).toHaveLength(1)
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
    expect(shared.ownerOf(username)).toBe('b')
    expect(await a.metric('sluice_webrtc_sessions_ended_total{reason="taken"}')).toBe(1)
  })

  test('what is idle everywhere is ended, and its origin told', async () => {
    const clock = new ManualClock()
    const { shared, origin, a, b } = await startFleet({ clock })
    const { username } = await a.open('clnt')
    await checkThrough(await openClient(), b, origin, username)
    await until(() => a.service.listSessions().length === 0, 'the hand-over')
    clock.advance(31_000)
    await origin.sees('DELETE')
    expect(origin.seen.at(-1)?.url).toMatch(/^\/rtc\/v1\/whip\/\?action=delete&token=t1&session=/)
    await until(() => shared.records.size === 0, 'the store to forget it')
    await expectFree(a)
    await expectFree(b)
  })

  test('an idle session is dropped without a word to its origin while the store cannot say who has it', async () => {
    const clock = new ManualClock()
    const { shared, origin, a } = await startFleet({ clock })
    await a.open('clnt')
    shared.isAway = true
    clock.advance(31_000)
    await until(() => a.service.listSessions().length === 0, 'its end')
    expect(await a.metric('sluice_webrtc_sessions_ended_total{reason="idle"}')).toBe(1)
    await expectFree(a)
    shared.isAway = false
    // What it had been told before this would have come before.
    await a.open('next')
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST', 'POST'])
  })

  test('what its client ended stays ended, though its last checks go on', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username, location } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, b, origin, username)
    await until(() => a.service.listSessions().length === 0, 'the hand-over')
    const record = shared.records.get(username)
    const here = location.replace(a.url, b.url)
    expect((await fetch(here, { method: 'DELETE' })).status).toBe(200)
    // The store may take its time.
    shared.write(record?.session as RtcSession)
    await client.send(check(username), b.media)
    await until(() => b.datapath.totals().delivered.packets >= 2, 'the check')
    await client.send('end', b.media)
    expect(b.service.listSessions()).toEqual([])
    expect(await result(b, 'lookups', 'remembered')).toBe(1)
  })

  test('a gateway that closes leaves its sessions to others, where it is told to', async () => {
    const fleet = await startFleet({ leaveOnClose: true })
    const { shared, origin, a, b } = fleet
    const { username } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, a, origin, username, { nominate: true })
    await a.service.close()
    expect(shared.ownerOf(username)).toBe('a')
    expect(shared.listeners).toBe(2)
    const socket = await checkThrough(client, b, origin, username)
    await origin.udp.send('goes on', socket)
    expect((await client.next()).text).toBe('goes on')
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
    await b.service.close()
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
  })

  test('a gateway that closes ends its sessions, where it is not; those that others serve go on', async () => {
    const fleet = await startFleet()
    const { shared, origin, a, b } = fleet
    const there = await a.open('goes')
    const here = await a.open('ends', '/live/t/whip')
    await checkThrough(await openClient(), b, origin, there.username)
    await until(() => a.service.listSessions().length === 1, 'the hand-over')
    await a.service.close()
    expect([...shared.records.keys()]).toEqual([there.username])
    expect(shared.ownerOf(here.username)).toBeUndefined()
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST', 'POST', 'DELETE'])
    expect(b.service.listSessions()).toHaveLength(1)
  })

  test('a gateway that closes while it looks a session up leaves it where it is', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    await (await openClient()).send(check(username), b.media)
    await until(() => shared.lookups === 1, 'the question')
    const closed = b.service.close()
    open()
    await closed
    await checkLookups(b, 'found', 1)
    expect(b.datapath.totals().endpoints).toBe(0)
    expect([b.service.listSessions(), shared.ownerOf(username)]).toEqual([[], 'a'])
    expect(origin.udp.received).toEqual([])
    expect(a.service.listSessions()).toHaveLength(1)
  })

  test('takes a place while it is here, and gives it back', async () => {
    const { origin, a, b } = await startFleet((name) => (name === 'b' ? { maxSessions: 1 } : {}))
    const [first, second] = [await a.open('one1'), await a.open('two2', '/live/t/whip')]
    await checkThrough(await openClient(), b, origin, first.username)
    await (await openClient()).send(check(second.username), b.media)
    await eventually(async () => expect(await dropped(b, 'not-served')).toBe(1))
    expect((await fetch(first.location, { method: 'DELETE' })).status).toBe(200)
    await until(() => b.service.listSessions().length === 0, 'its end')
    await checkThrough(await openClient(), b, origin, second.username)
  })

  test('draining does not wait for what stands by', async () => {
    const clock = new ManualClock()
    const { origin, a, b } = await startFleet({ clock })
    const { username } = await a.open('clnt')
    const client = await openClient()
    await checkThrough(client, a, origin, username)
    let isClosed = false
    const closed = a.service.close({ graceMs: 60_000 }).then(() => (isClosed = true))
    await checkThrough(client, b, origin, username)
    await closed
    expect(isClosed).toBe(true)
    expect(clock.nowMs()).toBe(0)
  })

  test('a session that is kicked where it is served ends everywhere', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    await checkThrough(await openClient(), b, origin, username)
    await servedByB(a, b)
    const [session] = b.service.listSessions()
    expect(a.service.kickSession(session?.id ?? '')).toBe(false)
    expect(b.service.kickSession(session?.id ?? '')).toBe(true)
    await origin.sees('DELETE')
    expect(shared.records.size).toBe(0)
  })

  test('two gateways that take it at once end with one that serves it', async () => {
    const { shared, origin, a, b, c } = await startFleet()
    const { username } = await a.open('clnt')
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const client = await openClient()
    await client.send(check(username), b.media)
    await client.send(check(username), c.media)
    await until(() => shared.lookups === 2, 'both to ask')
    open()
    await origin.udp.next()
    await origin.udp.next()
    await until(() => [a, b, c].flatMap((one) => one.service.listSessions()).length === 1, 'one to serve it')
    const owner = shared.ownerOf(username)
    expect((owner === 'b' ? b : c).service.listSessions()).toHaveLength(1)
  })
})

describe('a store that is slow or away', () => {
  test('holds one request of each name, joins the others, and gives up in time', async () => {
    const clock = new ManualClock()
    const { shared, origin, a, b } = await startFleet({ clock })
    const { username } = await a.open('clnt')
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const client = await openClient()
    for (let i = 0; i < 5; i++) await client.send(check(username), b.media)
    await until(() => b.datapath.totals().delivered.packets === 5, 'the checks')
    expect(shared.lookups).toBe(1)
    expect(await dropped(b, 'being-looked-up')).toBe(4)
    clock.advance(3000)
    await until(() => b.service.listSessions().length === 0 && shared.lookups === 1, 'nothing')
    await checkLookups(b, 'failed', 1)
    expect(await dropped(b, 'lookup-failed')).toBe(1)
    // What comes late changes nothing.
    open()
    await checkThrough(client, b, origin, username)
    expect(shared.lookups).toBe(2)
    expect(origin.udp.received).toEqual([])
  })

  test('whoever read a USERNAME and was first keeps nobody out', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    const [thief, client, third] = [
      await openClient(),
      await openClient('127.0.0.2'),
      await openClient('127.0.0.3'),
    ]
    const bad = check(username, { pwd: 'x'.repeat(24), nominate: true })
    for (const one of [thief, third]) await one.send(bad, b.media)
    const good = check(username)
    await client.send(good, b.media)
    await until(() => b.datapath.totals().delivered.packets === 3, 'them all')
    open()
    const { bytes, from } = await origin.udp.next()
    expect(bytes).toEqual(good)
    await origin.udp.send('down', from)
    expect((await client.next()).text).toBe('down')
    expect(await dropped(b, 'integrity')).toBe(2)
    expect([shared.lookups, origin.udp.received, thief.received]).toEqual([1, [], []])
  })

  test('a few senders of one name wait for it, and no more', async () => {
    const { shared, b } = await startFleet()
    let open = (): void => {}
    shared.until = new Promise((resolve) => (open = resolve))
    for (let i = 2; i < 9; i++) {
      await (await openClient(`127.0.0.${i}`)).send(check('made:up00'), b.media)
    }
    await until(() => b.datapath.totals().delivered.packets === 7, 'them all')
    expect(await dropped(b, 'being-looked-up')).toBe(3)
    open()
    await eventually(async () => expect(await dropped(b, 'unknown-session')).toBe(4))
    expect(shared.lookups).toBe(1)
  })

  test('is asked again at once when it failed: that is no unknown session', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    shared.isAway = true
    const client = await openClient()
    await client.send(check(username), b.media)
    await checkLookups(b, 'failed', 1)
    shared.isAway = false
    await checkThrough(client, b, origin, username)
  })

  test('is asked about a few idle sessions at a time, though a whole origin’s are idle at once', async () => {
    const clock = new ManualClock()
    let open = (): void => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    let asked = 0
    const { a } = await startFleet((_, store) => ({
      clock,
      maxLookups: 2,
      sessionStore: {
        ...store,
        servesSession: async () => {
          asked++
          await gate
          return true
        },
      },
    }))
    for (const name of ['one', 'two', 'three', 'four', 'five']) {
      await a.open(`${name}00`, `/live/${name}/whip`)
    }
    clock.advance(31_000)
    expect(asked).toBe(2)
    open()
    await eventually(() => {
      clock.advance(1000)
      expect(a.service.sessionCount).toBe(0)
    })
    expect(asked).toBe(5)
    expect(await a.metric('sluice_webrtc_sessions_ended_total{reason="idle"}')).toBe(5)
  })

  test('does not keep a session from being served that was found', async () => {
    const { origin, a, b } = await startFleet((_, store) => ({
      sessionStore: { ...store, takeSession: () => Promise.reject(new Error('away')) },
    }))
    const { username } = await a.open('clnt')
    const client = await openClient()
    const socket = await checkThrough(client, b, origin, username)
    await origin.udp.send('served', socket)
    expect((await client.next()).text).toBe('served')
  })

  test('one that is not shared is never asked', async () => {
    const { origin, a, b } = await startFleet((name) =>
      name === 'b' ? { sessionStore: new MemoryBalancerStore() } : {},
    )
    const { username } = await a.open('clnt')
    const client = await openClient()
    await client.send(check(username), b.media)
    await until(() => b.datapath.totals().delivered.packets === 1, 'the check')
    expect(await dropped(b, 'unknown-session')).toBe(1)
    expect(await b.metric('sluice_webrtc_lookups_total{result="found"}')).toBeNaN()
    expect(origin.udp.received).toEqual([])
  })
})

describe('strangers', () => {
  test('cost a bounded number of look-ups, and those who are known nothing', async () => {
    const { shared, origin, a, b } = await startFleet({ lookupsPerSecondPerSource: 5 })
    const { username } = await b.open('clnt')
    const { username: other } = await a.open('else')
    const client = await openClient()
    await checkThrough(client, b, origin, username)
    const stranger = await openClient()
    for (let i = 0; i < 50; i++) await stranger.send(check(`made:up${i}`), b.media)
    await until(() => b.datapath.totals().delivered.packets === 51, 'the flood')
    expect(shared.lookups).toBe(5)
    await checkLookups(b, 'unknown', 5)
    expect(await dropped(b, 'too-many-lookups')).toBe(45)
    await client.send('known', b.media)
    expect((await origin.udp.next()).text).toBe('known')
    // Loopback is one source: this one has to wait for the second to pass.
    await stranger.send(check(other), b.media)
    await until(() => b.datapath.totals().delivered.packets === 52, 'one more')
    expect(origin.udp.received).toEqual([])
  })

  test('are not those who are known and name a session that nobody knows', async () => {
    const { origin, b } = await startFleet()
    const { username } = await b.open('clnt')
    const client = await openClient()
    const socket = await checkThrough(client, b, origin, username)
    const other = check('made:up00')
    await client.send(other, b.media)
    expect(await origin.udp.next()).toMatchObject({ bytes: other, from: socket })
    await checkLookups(b, 'unknown', 1)
    expect(await dropped(b, 'unknown-session')).toBe(0)
    expect(origin.udp.received).toEqual([])
  })

  test('with no plausible USERNAME, or with a request beyond all measure, are not asked for', async () => {
    const { shared, b } = await startFleet()
    const client = await openClient()
    for (const name of ['', 'nocolon', 'a:b:c', ':', 'a: b']) await client.send(check(name), b.media)
    await client.send(check('abcd:efgh').subarray(0, 30), b.media)
    const long = new StunWriter(StunMethod.binding, StunClass.request, Buffer.alloc(12))
      .text(StunAttribute.username, 'abcd:efgh')
      .attribute(StunAttribute.software, Buffer.alloc(1500))
    await client.send(long.finish(), b.media)
    await until(() => b.datapath.totals().delivered.packets === 7, 'them')
    expect(shared.lookups).toBe(0)
  })

  test('may send anything: nothing throws and nothing is held', async () => {
    const { shared, b } = await startFleet({ lookupsPerSecondPerSource: 1000 })
    const client = await openClient()
    const good = check('abcd:efgh')
    const cut = fc.sample(fc.integer({ min: 0, max: good.length - 1 }), 100)
    for (const at of cut) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ 0x55
      await client.send(bad, b.media)
      await client.send(good.subarray(0, at), b.media)
    }
    await until(() => b.datapath.totals().delivered.packets >= 150, 'them')
    await eventually(async () => {
      const done = await Promise.all(['found', 'unknown', 'failed'].map((one) => result(b, 'lookups', one)))
      expect(done.reduce((sum, one) => sum + one, 0)).toBe(shared.lookups)
    })
    expect(b.datapath.totals()).toMatchObject({ endpoints: 1, flows: 0 })
  })
})

describe('a record that leads nowhere', () => {
  const hostile: readonly (readonly [string, Partial<RtcSession>])[] = [
    ['an address that is no origin', { originAddress: '127.0.0.2' }],
    ['a port that is not its origin’s', { originPort: 9 }],
    ['port 0', { originPort: 0 }],
    ['a port beyond all', { originPort: 70_000 }],
    ['a name', { originAddress: 'localhost' }],
    ['no address', { originAddress: '' }],
    ['an origin that nobody knows', { originId: 'no-such-origin' as RtcSession['originId'] }],
  ]
  test.each(hostile)('%s: is not followed', async (_, part) => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    const { session } = shared.records.get(username) as { session: RtcSession }
    shared.write({ ...session, ...part }, 'a')
    const client = await openClient()
    await client.send(check(username), b.media)
    await checkLookups(b, 'found', 1)
    expect(await dropped(b, 'bad-record')).toBe(1)
    expect([origin.udp.received, b.service.listSessions()]).toEqual([[], []])
    await expectFree(b)
    expect(shared.ownerOf(username)).toBe('a')
  })

  test('for another USERNAME than was asked for is none', async () => {
    const { shared, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    const { session } = shared.records.get(username) as { session: RtcSession }
    shared.records.set('evil:name', { session, owner: 'a' })
    await (await openClient()).send(check('evil:name'), b.media)
    await checkLookups(b, 'unknown', 1)
    expect(b.service.listSessions()).toEqual([])
  })

  test('its URL at no origin is not asked when the session ends', async () => {
    const { shared, origin, a, b } = await startFleet()
    const elsewhere = await FakeOrigin.start('127.0.0.3')
    const { username } = await a.open('clnt')
    const { session } = shared.records.get(username) as { session: RtcSession }
    const resource = session.resource && {
      ...session.resource,
      originUrl: `http://127.0.0.3:${elsewhere.apiPort}/`,
    }
    shared.write({ ...session, ...(resource && { resource }) }, 'a')
    await checkThrough(await openClient(), b, origin, username)
    b.service.kickSession(b.service.listSessions()[0]?.id ?? '')
    await until(() => shared.records.size === 0, 'its end')
    expect(elsewhere.seen).toEqual([])
    expect(origin.seen.map(({ method }) => method)).toEqual(['POST'])
  })

  test('with another origin does not restart a session that is served here', async () => {
    const { shared, origin, a, b } = await startFleet()
    const { username } = await a.open('clnt')
    await checkThrough(await openClient(), b, origin, username)
    await servedByB(a, b)
    const { session } = shared.records.get(username) as { session: RtcSession }
    const originId = originIdOf({ ...origin.announcement(), pid: '2' })
    shared.write({ ...session, username: 'new1:clnt', originId }, 'c')
    await (await openClient()).send(check('new1:clnt'), b.media)
    await checkLookups(b, 'found', 2)
    expect(await dropped(b, 'bad-record')).toBe(1)
  })
})
