import { afterEach, describe, expect, it, vi } from 'vitest'
import type {
  BalancerStore,
  Claim,
  Hold,
  OriginAnnouncement,
  OriginId,
  RtcSession,
  Stream,
} from './contract.ts'
import { originIdOf } from './origin-id.ts'
import { streamKeyOf, type StreamKey } from './stream-key.ts'

/** What the suite asks of a store under test; times in milliseconds. */
export interface ConformanceSettings {
  readonly policy: 'random' | 'least-streams'
  readonly heartbeatTtlMs: number
  readonly suspectMs: number
  readonly pickIdleMs: number
  readonly sessionTtlMs: number
}

/** A store under test. Effects may be seen late; time moves by the handle only. */
export interface StoreUnderTest {
  readonly store: BalancerStore
  readonly advance: (ms: number) => Promise<void>
  close(): Promise<void>
}

const SETTINGS: ConformanceSettings = {
  policy: 'random',
  heartbeatTtlMs: 300_000,
  suspectMs: 10_000,
  pickIdleMs: 600_000,
  sessionTtlMs: 120_000,
}

/** An announcement of an origin that offers everything but SRT. */
export function announcement(name: string, given: Partial<OriginAnnouncement> = {}): OriginAnnouncement {
  return {
    ip: '127.0.0.1',
    server: `server-${name}`,
    service: 'service',
    pid: '1',
    rtmp: [1935],
    http: [8080],
    api: [1985],
    srt: [],
    rtc: [8000],
    ...given,
  }
}

/** Runs the suite that every balancer store meets. */
export function describeBalancerStore(
  name: string,
  create: (settings: ConformanceSettings) => Promise<StoreUnderTest>,
): void {
  describe(`${name} meets the balancer contract`, () => {
    const opened: StoreUnderTest[] = []
    const open = async (settings: Partial<ConformanceSettings> = {}): Promise<StoreUnderTest> => {
      const made = await create({ ...SETTINGS, ...settings })
      opened.push(made)
      return made
    }
    afterEach(async () => {
      for (const made of opened.splice(0)) await made.close()
    })

    describeOrigins(open)
    describePicks(open)
    describeFailures(open)
    describeSessions(open)
  })
}

type Open = (settings?: Partial<ConformanceSettings>) => Promise<StoreUnderTest>

function describeOrigins(open: Open): void {
  it('lists an announced origin as it announced itself, with its heartbeat', async () => {
    const { store, advance } = await open()
    const id = await store.announce(announcement('a', { deviceId: 'device', rtc: [8000, 8001] }))
    expect(id).toBe('server-a-service-1')
    const [first] = await store.list()
    expect(await store.findOrigin(id)).toEqual(first)
    expect(await store.findOrigin(originIdOf(announcement('absent')))).toBeUndefined()
    expect(first).toMatchObject({
      ...announcement('a', { deviceId: 'device', rtc: [8000, 8001] }),
      id,
      state: 'healthy',
      draining: false,
      streams: 0,
    })
    await advance(9000)
    await store.announce(announcement('a', { http: [8081] }))
    const [second, ...others] = await store.list()
    expect(others).toEqual([])
    expect(second?.http).toEqual([8081])
    expect(second?.deviceId).toBeUndefined()
    expect((second?.lastHeartbeatMs ?? 0) - (first?.lastHeartbeatMs ?? 0)).toBeGreaterThanOrEqual(9000)
  })

  it('an origin is silent when its heartbeat is as old as the TTL, and healthy again with the next', async () => {
    const { store, advance } = await open()
    await store.announce(announcement('a'))
    await advance(SETTINGS.heartbeatTtlMs - 1000)
    expect((await store.list())[0]?.state).toBe('healthy')
    await advance(1000)
    expect((await store.list())[0]?.state).toBe('silent')
    await store.announce(announcement('a'))
    expect((await store.list())[0]?.state).toBe('healthy')
  })

  it('a new run of a server replaces the earlier one, another server beside it stays', async () => {
    const { store } = await open()
    await store.announce(announcement('a', { pid: '1' }))
    await store.announce(announcement('b', { rtmp: [1936] }))
    await store.announce(announcement('a', { pid: '2', service: 'later' }))
    expect((await ids(store)).sort()).toEqual(['server-a-later-2', 'server-b-service-1'])
  })

  it('two live origins that share a server id do not replace each other', async () => {
    const { store } = await open()
    await store.announce(announcement('a', { pid: '1' }))
    await store.announce(announcement('a', { pid: '2', rtmp: [1936], http: [8081], api: [1986] }))
    await store.announce(announcement('a', { pid: '3', ip: '127.0.0.2' }))
    expect(await store.list()).toHaveLength(3)
  })

  it('a removed origin is gone with its picks', async () => {
    const { store } = await open()
    const id = await store.announce(announcement('a'))
    await publish(store, key('s'))
    expect(await store.remove(id)).toBe(true)
    expect(await store.list()).toEqual([])
    expect(await store.streams()).toEqual([])
    expect(await store.remove(id)).toBe(false)
    expect(await store.drain(id, true)).toBe(false)
  })

  it('a removed origin gets nothing from a claim that ends later', async () => {
    const { store } = await open()
    const id = await store.announce(announcement('a'))
    const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    await store.remove(id)
    const hold = await claim.keep()
    expect(await store.streams()).toEqual([])
    hold.end()
  })
}

function describePicks(open: Open): void {
  it('a kept pick sticks, over protocols and roles, and is listed', async () => {
    const { store } = await open()
    await announce(store, 8)
    const first = await publish(store, key('s'))
    for (let time = 0; time < 20; time++) {
      const claim = await store.pick(key('s'), time % 2 === 0 ? 'flv' : 'whip', { role: 'play' })
      expect(claim.origin.id).toBe(first.id)
      await claim.keep()
    }
    expect(await store.streams()).toMatchObject([
      { key: key('s'), originId: first.id, publishers: 1, players: 20 },
    ])
    expect((await store.list()).find(({ id }) => id === first.id)?.streams).toBe(1)
  })

  it('random spreads keys over all healthy origins', async () => {
    const { store } = await open()
    await announce(store, 3)
    const used = new Set<OriginId>()
    for (let time = 0; time < 100; time++) used.add((await publish(store, key(`s${time}`))).id)
    expect(used.size).toBe(3)
  })

  it('least-streams keeps origins even, also among requests that run at the same time', async () => {
    const { store } = await open({ policy: 'least-streams' })
    await announce(store, 4)
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, time) => store.pick(key(`s${time}`), 'rtmp', { role: 'publish' })),
    )
    for (const claim of claims) await claim.keep()
    expect((await store.list()).map(({ streams }) => streams)).toEqual([5, 5, 5, 5])
  })

  it('requests for the same new key that run at the same time get the same origin', async () => {
    const { store } = await open()
    await announce(store, 8)
    const claims = await Promise.all(
      Array.from({ length: 30 }, (_, time) =>
        store.pick(key('s'), 'rtmp', { role: time % 3 === 0 ? 'publish' : 'play' }),
      ),
    )
    expect(new Set(claims.map(({ origin }) => origin.id)).size).toBe(1)
    for (const claim of claims) await claim.keep()
    expect(await store.streams()).toMatchObject([{ publishers: 10, players: 20 }])
  })

  it('what the origin refuses leaves nothing behind', async () => {
    const { store } = await open()
    await announce(store, 8)
    const chosen = new Set<OriginId>()
    for (let time = 0; time < 60; time++) {
      const claim = await store.pick(key('absent'), 'rtmp', { role: 'play' })
      chosen.add(claim.origin.id)
      await claim.release()
    }
    expect(await store.streams()).toEqual([])
    expect(chosen.size).toBeGreaterThan(1)
    expect((await store.list()).every(({ streams }) => streams === 0)).toBe(true)
  })

  it('one refused request does not undo what another one keeps', async () => {
    const { store } = await open()
    await announce(store, 8)
    const refused = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const kept = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    await kept.keep()
    await refused.release()
    expect(await store.streams()).toMatchObject([{ originId: kept.origin.id, publishers: 1, players: 0 }])
  })

  it('a claim ends once: later calls do nothing', async () => {
    const { store } = await open()
    await announce(store, 2)
    const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    await claim.keep()
    await claim.failed()
    await claim.release()
    const nothing = await claim.keep()
    nothing.end()
    expect(await store.streams()).toMatchObject([{ publishers: 1 }])
    expect((await store.list()).map(({ state }) => state)).toEqual(['healthy', 'healthy'])
  })

  it('a pick that nobody uses expires after its idle time, one in use does not', async () => {
    const { store, advance } = await open()
    const origin = announcement('a')
    await store.announce(origin)
    const { hold } = await publish(store, key('idle'))
    await publish(store, key('used'))
    hold.end()
    hold.end()
    await eventually(async () => expect(await stream(store, key('idle'))).toMatchObject({ publishers: 0 }))
    for (let third = 0; third < 3; third++) {
      await advance((SETTINGS.pickIdleMs - 1500) / 3)
      await store.announce(origin)
    }
    expect(await stream(store, key('idle'))).toBeDefined()
    await advance(1500)
    await eventually(async () => expect(await stream(store, key('idle'))).toBeUndefined())
    expect(await stream(store, key('used'))).toMatchObject({ publishers: 1 })
  })

  it('origins that lack the protocol are not picked', async () => {
    const { store } = await open()
    await store.announce(announcement('no-rtc', { rtc: [] }))
    await store.announce(announcement('no-api', { api: [] }))
    await store.announce(announcement('no-http', { http: [] }))
    const srt = await store.announce(announcement('srt', { srt: [10080], rtc: [], http: [] }))
    for (let time = 0; time < 20; time++) {
      expect((await store.pick(key(`a${time}`), 'whip', { role: 'publish' })).origin.id).toBe(
        'server-no-http-service-1',
      )
      expect((await store.pick(key(`b${time}`), 'srt', { role: 'publish' })).origin.id).toBe(srt)
      expect((await store.pick(key(`c${time}`), 'flv', { role: 'play' })).origin.http).not.toEqual([])
    }
    await store.remove(srt)
    await expect(store.pick(key('d'), 'srt', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
  })

  it('a live stream does not move for a protocol that its origin lacks', async () => {
    const { store } = await open()
    const plain = await store.announce(announcement('plain', { api: [], rtc: [] }))
    const { hold } = await publish(store, key('s'))
    await store.announce(announcement('full'))
    await expect(store.pick(key('s'), 'whip', { role: 'play' })).rejects.toMatchObject({
      code: 'BALANCER_PROTOCOL_NOT_OFFERED',
      retryable: false,
    })
    expect((await stream(store, key('s')))?.originId).toBe(plain)
    hold.end()
    await eventually(async () => {
      const claim = await store.pick(key('s'), 'whip', { role: 'publish' })
      expect(claim.origin.server).toBe('server-full')
      await claim.release()
    })
    // It was only asked for elsewhere, and nobody accepted there.
    expect((await stream(store, key('s')))?.originId).toBe(plain)
  })

  it('a drained origin keeps its streams and gets no new one, until it is undrained', async () => {
    const { store } = await open()
    const [first] = await announce(store, 1)
    await publish(store, key('old'))
    const { hold } = await publish(store, key('idle'))
    hold.end()
    await eventually(async () => expect(await stream(store, key('idle'))).toMatchObject({ publishers: 0 }))
    expect(await store.drain(id(first), true)).toBe(true)
    expect((await store.list())[0]).toMatchObject({ draining: true, state: 'healthy' })
    expect((await store.pick(key('old'), 'rtmp', { role: 'play' })).origin.id).toBe(first)
    // With nowhere else to go, what it still knows comes back to it.
    const back = await store.pick(key('idle'), 'rtmp', { role: 'publish' })
    expect(back.origin.id).toBe(first)
    await back.release()
    await expect(store.pick(key('new'), 'rtmp', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })

    const other = await store.announce(announcement('other', { rtmp: [1999] }))
    await store.announce(announcement('0', { rtmp: [2000] }))
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`n${time}`))).id).toBe(other)
    expect((await publish(store, key('idle'))).id).toBe(other)
    expect((await store.pick(key('old'), 'rtmp', { role: 'play' })).origin.id).toBe(first)

    await store.drain(id(first), false)
    await store.remove(other)
    expect((await publish(store, key('new'))).id).toBe(first)
  })

  it('a cleared pick is chosen anew, and what ran there ends quietly', async () => {
    const { store } = await open()
    const old = await store.announce(announcement('old'))
    const { hold } = await publish(store, key('s'))
    const next = await store.announce(announcement('next'))
    await store.drain(old, true)
    expect(await store.clearPick(key('s'))).toBe(true)
    expect(await store.clearPick(key('s'))).toBe(false)
    expect(await store.streams()).toEqual([])
    expect((await publish(store, key('s'))).id).toBe(next)
    hold.end()
    expect(await store.streams()).toMatchObject([{ originId: next, publishers: 1 }])
  })

  it('without any origin there is a clear error', async () => {
    const { store } = await open()
    await expect(store.pick(key('s'), 'rtmp', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
      side: 'origin',
      retryable: true,
      status: 503,
    })
  })
}

function describeFailures(open: Open): void {
  it('a failed connection moves the pick, and the origin is suspect until its next heartbeat', async () => {
    const { store } = await open()
    await announce(store, 2)
    const { id: dead, hold } = await publish(store, key('s'))
    hold.end()
    await eventually(async () => expect(await stream(store, key('s'))).toMatchObject({ publishers: 0 }))
    const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    expect(claim.origin.id).toBe(dead)
    await claim.failed()
    expect(await stateOf(store, dead)).toBe('suspect')
    expect(await store.streams()).toEqual([])
    const moved = await publish(store, key('s'), [dead])
    expect(moved.id).not.toBe(dead)
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`n${time}`))).id).toBe(moved.id)
    const name = dead.replace(/^server-(.*)-service-1$/, '$1')
    await store.announce(announcement(name, { rtmp: [2000 + Number(name)] }))
    expect(await stateOf(store, dead)).toBe('healthy')
    expect((await publish(store, key('s'))).id).toBe(moved.id)
  })

  it('without a heartbeat, suspicion lasts its time, and longer after each failure', async () => {
    const { store, advance } = await open()
    const [only] = await announce(store, 1)
    const fail = async (): Promise<void> => (await store.pick(key('s'), 'rtmp', { role: 'publish' })).failed()
    await fail()
    await advance(SETTINGS.suspectMs - 1000)
    expect(await stateOf(store, id(only))).toBe('suspect')
    await advance(1000)
    expect(await stateOf(store, id(only))).toBe('healthy')
    await fail()
    await advance(SETTINGS.suspectMs)
    expect(await stateOf(store, id(only))).toBe('suspect')
    await advance(SETTINGS.suspectMs)
    expect(await stateOf(store, id(only))).toBe('healthy')
  })

  it('failures of one moment count once', async () => {
    const { store, advance } = await open()
    const [only] = await announce(store, 1)
    const claims = await Promise.all(
      Array.from({ length: 10 }, () => store.pick(key('s'), 'rtmp', { role: 'play' })),
    )
    for (const claim of claims) await claim.failed()
    await advance(SETTINGS.suspectMs)
    expect(await stateOf(store, id(only))).toBe('healthy')
  })

  it('silence makes an origin suspect, but not where a publisher of the key is live', async () => {
    const { store } = await open()
    const [only] = await announce(store, 1)
    await publish(store, key('s'))
    await (await store.pick(key('s'), 'flv', { role: 'play' })).failed('silent')
    expect(await stateOf(store, id(only))).toBe('healthy')
    await (await store.pick(key('other'), 'flv', { role: 'play' })).failed('silent')
    expect(await stateOf(store, id(only))).toBe('suspect')
  })

  it('an accepted request clears suspicion', async () => {
    const { store } = await open()
    const [only] = await announce(store, 1)
    await (await store.pick(key('s'), 'rtmp', { role: 'publish' })).failed()
    await publish(store, key('s'))
    expect(await stateOf(store, id(only))).toBe('healthy')
  })

  it('a failed connection does not move a stream whose publisher is live', async () => {
    const { store } = await open()
    await announce(store, 3)
    const { id: live, hold } = await publish(store, key('s'))
    await (await store.pick(key('s'), 'flv', { role: 'play' })).failed()
    const again = await store.pick(key('s'), 'rtmp', { role: 'play' })
    expect(again.origin.id).toBe(live)
    await again.failed()
    await expect(store.pick(key('s'), 'rtmp', { role: 'play', avoid: [live] })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
    hold.end()
    await eventually(async () => {
      const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
      expect(claim.origin.id).not.toBe(live)
      await claim.release()
    })
  })

  it('a publisher moves a key that only players keep at an origin that is dead', async () => {
    const { store } = await open()
    await announce(store, 2)
    const waiting = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const player = await waiting.keep()
    const dead = waiting.origin.id
    const publisher = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    expect(publisher.origin.id).toBe(dead)
    await publisher.failed()
    const moved = await publish(store, key('s'), [dead])
    expect(moved.id).not.toBe(dead)
    player.end()
    expect(await store.streams()).toMatchObject([{ originId: moved.id, publishers: 1, players: 0 }])
    const late = await store.pick(key('s'), 'flv', { role: 'play' })
    expect(late.origin.id).toBe(moved.id)
  })

  it('retries that run at the same time agree on the next origin', async () => {
    const { store } = await open()
    await announce(store, 6)
    const claims = await Promise.all(
      Array.from({ length: 10 }, () => store.pick(key('s'), 'rtmp', { role: 'play' })),
    )
    const dead = claims.map(({ origin }) => origin.id)
    for (const claim of claims) await claim.failed()
    const next = await Promise.all(
      claims.map(() => store.pick(key('s'), 'rtmp', { role: 'play', avoid: dead.slice(0, 1) })),
    )
    expect(new Set(next.map(({ origin }) => origin.id)).size).toBe(1)
    expect(next[0]?.origin.id).not.toBe(dead[0])
  })

  it('when origins disagree, the stream is where its publisher is', async () => {
    const { store } = await open()
    await announce(store, 2)
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const publisher = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [player.origin.id] })
    expect(publisher.origin.id).not.toBe(player.origin.id)
    const hold = await player.keep()
    await publisher.keep()
    hold.end()
    expect(await store.streams()).toMatchObject([
      { originId: publisher.origin.id, publishers: 1, players: 0 },
    ])
    const late: Claim = await store.pick(key('s'), 'rtmp', { role: 'play' })
    expect(late.origin.id).toBe(publisher.origin.id)
  })

  it('a player accepted elsewhere does not move a stream away from its publisher', async () => {
    const { store } = await open()
    await announce(store, 2)
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const publisher = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [player.origin.id] })
    await publisher.keep()
    await player.keep()
    expect(await store.streams()).toMatchObject([
      { originId: publisher.origin.id, publishers: 1, players: 0 },
    ])
  })

  it('the pick of a silent origin is dropped, unless a publisher is live there', async () => {
    const { store, advance } = await open()
    await store.announce(announcement('old'))
    const live = await publish(store, key('live'))
    const watched = await store.pick(key('watched'), 'rtmp', { role: 'play' })
    await watched.keep()
    await advance(SETTINGS.heartbeatTtlMs)
    const next = await store.announce(announcement('next'))
    expect((await store.pick(key('live'), 'flv', { role: 'play' })).origin.id).toBe(live.id)
    expect((await store.pick(key('watched'), 'rtmp', { role: 'publish' })).origin.id).toBe(next)
    expect(await store.streams()).toMatchObject([{ key: key('live'), originId: live.id }])
  })

  it('a heartbeat after the TTL does not bring dropped picks back', async () => {
    const { store, advance } = await open()
    await store.announce(announcement('a'))
    await publish(store, key('live'))
    await (await store.pick(key('watched'), 'rtmp', { role: 'play' })).keep()
    await advance(SETTINGS.heartbeatTtlMs)
    await store.announce(announcement('a'))
    expect(await store.streams()).toMatchObject([{ key: key('live') }])
  })

  it('with no healthy origin the registered ones are tried, newest heartbeat first, each once', async () => {
    const { store, advance } = await open()
    const order: OriginId[] = []
    for (const name of ['c', 'a', 'b']) {
      order.unshift(await store.announce(announcement(name)))
      await advance(1000)
    }
    await advance(SETTINGS.heartbeatTtlMs)
    const suspect = await store.announce(announcement('suspect'))
    await (await store.pick(key('x'), 'rtmp', { role: 'publish' })).failed()
    order.unshift(suspect)
    const tried: OriginId[] = []
    for (const expected of order) {
      const claim = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: tried })
      expect(claim.origin.id).toBe(expected)
      await claim.failed()
      tried.push(claim.origin.id)
    }
    await expect(store.pick(key('s'), 'rtmp', { role: 'publish', avoid: tried })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
  })
}

function describeSessions(open: Open): void {
  it('a session is found by its USERNAME and by its stream, as it was added', async () => {
    const { store } = await open()
    await store.addSession(session('a:b'))
    await store.addSession(session('c:d'))
    await store.addSession(session('e:f', 'other'))
    expect(await store.findSession('a:b')).toEqual(session('a:b'))
    expect(await store.findSession('b:a')).toBeUndefined()
    const found = await store.findSessions(key('s'))
    expect(found.map(({ username }) => username).sort()).toEqual(['a:b', 'c:d'])
    await store.removeSession('a:b')
    await store.removeSession('a:b')
    expect(await store.findSession('a:b')).toBeUndefined()
    expect(await store.findSessions(key('s'))).toEqual([session('c:d')])
  })

  it('a USERNAME that is live is refused, and free again afterwards', async () => {
    const { store, advance } = await open()
    await store.addSession(session('a:b'))
    await expect(store.addSession(session('a:b', 'other'))).rejects.toMatchObject({
      code: 'BALANCER_SESSION_EXISTS',
      status: 409,
      side: 'client',
    })
    expect(await store.findSession('a:b')).toEqual(session('a:b'))
    await store.removeSession('a:b')
    await store.addSession(session('a:b', 'other'))
    await advance(SETTINGS.sessionTtlMs)
    await store.addSession(session('a:b', 'third'))
    expect(await store.findSessions(key('other'))).toEqual([])
  })

  it('a session lives as long as it is looked up or renewed', async () => {
    const { store, advance } = await open()
    await store.addSession(session('used:x'))
    await store.addSession(session('renewed:x'))
    await store.addSession(session('left:x'))
    await advance(SETTINGS.sessionTtlMs - 1000)
    expect(await store.findSession('used:x')).toBeDefined()
    await store.renewSession('renewed:x')
    await store.renewSession('absent:x')
    await advance(1000)
    expect(await store.findSession('left:x')).toBeUndefined()
    expect((await store.findSessions(key('s'))).map(({ username }) => username).sort()).toEqual([
      'renewed:x',
      'used:x',
    ])
    await advance(SETTINGS.sessionTtlMs - 1000)
    expect(await store.findSessions(key('s'))).toEqual([])
  })
}

function key(stream: string): StreamKey {
  return streamKeyOf('', 'live', stream)
}

function session(username: string, stream = 's'): RtcSession {
  return {
    streamKey: key(stream),
    role: 'play',
    username,
    originId: originIdOf(announcement('a')),
    originAddress: '127.0.0.1',
    originPort: 8000,
    icePassword: 'secret-of-the-answer',
  }
}

/** Origins `0`, `1` ... with RTMP ports from 2000. */
async function announce(store: BalancerStore, count: number): Promise<readonly OriginId[]> {
  const made: OriginId[] = []
  for (let at = 0; at < count; at++)
    made.push(await store.announce(announcement(`${at}`, { rtmp: [2000 + at] })))
  return made
}

async function publish(
  store: BalancerStore,
  key: StreamKey,
  avoid: readonly OriginId[] = [],
): Promise<{ readonly id: OriginId; readonly hold: Hold }> {
  const claim = await store.pick(key, 'rtmp', { role: 'publish', avoid })
  return { id: claim.origin.id, hold: await claim.keep() }
}

async function stream(store: BalancerStore, key: StreamKey): Promise<Stream | undefined> {
  return (await store.streams()).find((kept) => kept.key === key)
}

async function stateOf(store: BalancerStore, id: OriginId): Promise<string | undefined> {
  return (await store.list()).find((origin) => origin.id === id)?.state
}

async function ids(store: BalancerStore): Promise<OriginId[]> {
  return (await store.list()).map(({ id }) => id)
}

function id(known: OriginId | undefined): OriginId {
  if (known === undefined) throw new Error('no such origin')
  return known
}

async function eventually(check: () => Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 5000, interval: 10 })
}
