import { expect, it } from 'vitest'
import {
  announcement,
  SETTINGS,
  key,
  announce,
  publish,
  stream,
  stateOf,
  ids,
  id,
  eventually,
  type Open,
} from './conformance-kit.testkit.ts'
import type { Claim, OriginId } from './contract.ts'
import { originIdOf } from './origin-id.ts'

export function describeOrigins(open: Open): void {
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

  // Reference 9, number 39: entries of earlier runs were never dropped.
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

export function describeFailures(open: Open): void {
  it('a failed check makes an origin suspect until its next announcement, whatever it accepts', async () => {
    const { store, advance } = await open()
    const [only] = await announce(store, 1)
    expect(await store.suspect(id(only))).toBe(true)
    expect(await stateOf(store, id(only))).toBe('suspect')
    await publish(store, key('s'))
    await advance(SETTINGS.suspectMs * 4)
    expect(await stateOf(store, id(only))).toBe('suspect')
    await store.announce(announcement('0', { rtmp: [2000] }))
    expect(await stateOf(store, id(only))).toBe('healthy')
    await store.remove(id(only))
    expect(await store.suspect(id(only))).toBe(false)
  })

  // Reference 9, numbers 39 and 42: a dead origin took its streams with it, and nothing else was tried.
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

  // Reference 9, number 42: nothing was tried again.
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
