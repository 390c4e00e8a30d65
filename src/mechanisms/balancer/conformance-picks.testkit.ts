import { expect, it } from 'vitest'
import {
  announcement,
  SETTINGS,
  key,
  announce,
  publish,
  stream,
  id,
  eventually,
  type Open,
} from './conformance-kit.testkit.ts'
import type { OriginId } from './contract.ts'

export function describePicks(open: Open): void {
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

  // Reference 9, number 39: picks were for ever.
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

  // Reference 9, number 41: no filter by capability.
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

  // Reference 9, number 41: no maintenance.
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
