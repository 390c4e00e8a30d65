import { expect, it } from 'vitest'
import {
  announcement,
  SETTINGS,
  key,
  announce,
  publish,
  stream,
  ids,
  id,
  eventually,
  type Open,
} from './conformance-kit.testkit.ts'
import type { BalancerStore } from './contract.ts'

export function describeFollowing(open: Open): void {
  it('players go where an origin says that a stream is published, and it does not expire', async () => {
    const { store, advance } = await open()
    const origins = await announce(store, 4)
    const place = id(origins[2])
    expect(await store.follow(key('s'), place, true)).toBe(true)
    expect(await store.follow(key('s'), place, true)).toBe(true)
    expect(await store.streams()).toMatchObject([
      { key: key('s'), originId: place, isFollowed: true, isPinned: false, publishers: 0, players: 0 },
    ])
    for (let third = 0; third < 4; third++) {
      await advance(SETTINGS.pickIdleMs / 3)
      for (let at = 0; at < 4; at++) await store.announce(announcement(`${at}`, { rtmp: [2000 + at] }))
    }
    const claim = await store.pick(key('s'), 'flv', { role: 'play' })
    expect(claim.origin.id).toBe(place)
    await claim.release()
    expect(await store.follow(key('s'), place, false)).toBe(true)
    expect(await stream(store, key('s'))).toMatchObject({ isFollowed: false })
    await advance(SETTINGS.pickIdleMs)
    expect(await store.streams()).toEqual([])
    expect(await store.follow(key('s'), place, false)).toBe(false)
  })

  it('players of a followed stream go nowhere else, unless its origin cannot be reached', async () => {
    const { store } = await open()
    const place = await store.announce(announcement('place', { http: [] }))
    await store.announce(announcement('other'))
    await store.follow(key('s'), place, true)
    await expect(store.pick(key('s'), 'flv', { role: 'play' })).rejects.toMatchObject({
      code: 'BALANCER_PROTOCOL_NOT_OFFERED',
    })
    await store.suspect(place)
    const claim = await store.pick(key('s'), 'rtmp', { role: 'play' })
    expect(claim.origin.id).toBe(place)
    await claim.failed('silent')
    expect(await stream(store, key('s'))).toMatchObject({ originId: place, isFollowed: true })
    await (await store.pick(key('s'), 'rtmp', { role: 'play' })).failed()
    expect(await store.streams()).toEqual([])
    expect((await store.pick(key('s'), 'rtmp', { role: 'play' })).origin.server).toBe('server-other')
  })

  it('a publisher leaves a followed origin that is not fit, and the stream goes with it', async () => {
    const { store } = await open()
    const place = await store.announce(announcement('place'))
    await store.follow(key('s'), place, true)
    const other = await store.announce(announcement('other'))
    expect((await store.pick(key('s'), 'rtmp', { role: 'publish' })).origin.id).toBe(place)
    await store.suspect(place)
    const { id: taken, hold } = await publish(store, key('s'))
    expect(taken).toBe(other)
    expect(await stream(store, key('s'))).toMatchObject({ originId: other, isFollowed: false, publishers: 1 })
    hold.end()
    // Its first origin never took it back.
    await eventually(async () =>
      expect(await stream(store, key('s'))).toMatchObject({ originId: place, isFollowed: true }),
    )
  })

  it('what is published through a gateway does not move, but is followed once that has ended', async () => {
    const { store } = await open()
    const here = await store.announce(announcement('here'))
    const { hold } = await publish(store, key('s'))
    const there = await store.announce(announcement('there'))
    expect(await store.follow(key('s'), here, true)).toBe(true)
    expect(await store.follow(key('s'), there, true)).toBe(false)
    expect(await stream(store, key('s'))).toMatchObject({ originId: here, isFollowed: true, publishers: 1 })
    await store.follow(key('s'), here, false)
    expect(await stream(store, key('s'))).toMatchObject({ originId: here, isFollowed: false })
    hold.end()
    await eventually(async () =>
      expect(await stream(store, key('s'))).toMatchObject({ originId: there, isFollowed: true }),
    )
  })

  it('a player accepted elsewhere does not move a followed stream', async () => {
    const { store } = await open()
    await store.announce(announcement('other'))
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const place = await store.announce(announcement('place'))
    await store.follow(key('s'), place, true)
    await player.keep()
    expect(await store.streams()).toMatchObject([{ originId: place, isFollowed: true, players: 0 }])
  })

  it('of two origins the one that began last is right, however often the other repeats itself', async () => {
    const { store } = await open()
    const [first, second] = await announce(store, 2)
    await store.follow(key('s'), id(first), true)
    expect(await store.follow(key('s'), id(second), true)).toBe(true)
    expect(await store.follow(key('s'), id(first), true)).toBe(false)
    expect((await stream(store, key('s')))?.originId).toBe(second)
    expect(await store.follow(key('s'), id(first), false)).toBe(true)
    expect((await stream(store, key('s')))?.originId).toBe(second)
    await store.follow(key('s'), id(first), true)
    await store.follow(key('s'), id(first), false)
    expect(await stream(store, key('s'))).toMatchObject({ originId: second, isFollowed: true })
  })

  it('what an origin said goes with it: removed, silent or restarted', async () => {
    const { store, advance } = await open()
    const [a, b, c] = await announce(store, 3)
    for (const origin of [a, b]) await store.follow(key('two'), id(origin), true)
    await store.follow(key('one'), id(c), true)
    await store.remove(id(b))
    expect(await stream(store, key('two'))).toMatchObject({ originId: a, isFollowed: true })
    await store.announce(announcement('0', { rtmp: [2000], pid: '2' }))
    expect(await stream(store, key('two'))).toBeUndefined()
    await advance(SETTINGS.heartbeatTtlMs)
    expect(await store.follow(key('three'), id(c), true)).toBe(false)
    await store.announce(announcement('2', { rtmp: [2002] }))
    expect(await store.streams()).toEqual([])
    expect(await store.follow(key('one'), id(b), true)).toBe(false)
  })

  it('a silent origin is not followed by players, even before anybody looked', async () => {
    const { store, advance } = await open()
    const place = await store.announce(announcement('place'))
    await store.follow(key('s'), place, true)
    await advance(SETTINGS.heartbeatTtlMs)
    const other = await store.announce(announcement('other'))
    expect((await store.pick(key('s'), 'rtmp', { role: 'play' })).origin.id).toBe(other)
  })

  it('a cleared pick is followed again at the next word', async () => {
    const { store } = await open()
    const place = await store.announce(announcement('place'))
    await store.follow(key('s'), place, true)
    expect(await store.clearPick(key('s'))).toBe(true)
    expect(await store.streams()).toEqual([])
    expect(await store.follow(key('s'), place, true)).toBe(true)
    expect(await store.streams()).toMatchObject([{ originId: place, isFollowed: true }])
  })
}

export function describeMoves(open: Open): void {
  it('players are told once when a publisher is kept at another origin, publishers and those there are not', async () => {
    const { store } = await open()
    await announce(store, 2)
    const told: string[] = []
    const waiting = await store.pick(key('s'), 'rtmp', { role: 'play' })
    await waiting.keep(() => told.push('player'))
    const left = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const leftHold = await left.keep(() => told.push('left'))
    const refused = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [waiting.origin.id] })
    await refused.release()
    leftHold.end()
    const publisher = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [waiting.origin.id] })
    const early = await store.pick(key('s'), 'rtmp', { role: 'play', avoid: [waiting.origin.id] })
    await early.keep(() => told.push('there already'))
    const hold = await publisher.keep(() => told.push('publisher'))
    await eventually(async () => expect(told).toEqual(['player']))
    hold.end()
    await publish(store, key('s'))
    await tellsOthers(store)
    expect(told).toEqual(['player'])
  })

  it('players are told when a stream is followed to another origin', async () => {
    const { store } = await open()
    await announce(store, 3)
    const told: string[] = []
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const hold = await player.keep(() => told.push('moved'))
    await store.follow(key('s'), player.origin.id, true)
    await tellsOthers(store)
    expect(told).toEqual([])
    const other = (await ids(store)).find((origin) => origin !== player.origin.id)
    await store.follow(key('s'), id(other), true)
    await eventually(async () => expect(told).toEqual(['moved']))
    hold.end()
  })

  it('a player that was accepted where the stream is no more is told soon, after keep has returned', async () => {
    const { store } = await open()
    await announce(store, 2)
    const order: string[] = []
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    const publisher = await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [player.origin.id] })
    await publisher.keep()
    await player.keep(() => order.push('moved'))
    order.push('kept')
    await eventually(async () => expect(order).toEqual(['kept', 'moved']))
  })

  it('players of a pick that was cleared or whose origin was removed are told as well', async () => {
    const { store } = await open()
    await announce(store, 3)
    const told: string[] = []
    const player = await store.pick(key('s'), 'rtmp', { role: 'play' })
    await player.keep(() => told.push('moved'))
    await store.clearPick(key('s'))
    await store.remove(player.origin.id)
    await publish(store, key('s'))
    await eventually(async () => expect(told).toEqual(['moved']))
  })
}

/** Waits until a move that is told after all that came before was told. */
async function tellsOthers(store: BalancerStore): Promise<void> {
  let isTold = false
  const other = key('told-last')
  const player = await store.pick(other, 'rtmp', { role: 'play' })
  const hold = await player.keep(() => {
    isTold = true
  })
  const publisher = await publish(store, other, [player.origin.id])
  await eventually(async () => expect(isTold).toBe(true))
  hold.end()
  publisher.hold.end()
}
