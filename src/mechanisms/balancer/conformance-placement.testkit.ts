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
import { parseStreamKey, streamKeyOf } from './stream-key.ts'

export function describePlacement(open: Open): void {
  // Reference 9, number 41: no weights, load or zones.
  it('weight 0 is picked only when no other is fit, and a backup too', async () => {
    const { store } = await open()
    const none = await store.announce(announcement('none', { weight: 0 }))
    const backup = await store.announce(announcement('backup', { isBackup: true }))
    const main = await store.announce(announcement('main'))
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`a${time}`))).id).toBe(main)
    await store.drain(main, true)
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`b${time}`))).id).toBe(none)
    await store.drain(none, true)
    expect((await publish(store, key('c'))).id).toBe(backup)
    expect(await store.findOrigin(backup)).toMatchObject({ isBackup: true })
  })

  it('an idle pick leaves a backup once another origin is fit, one in use stays', async () => {
    const { store } = await open()
    const backup = await store.announce(announcement('backup', { isBackup: true }))
    const { hold } = await publish(store, key('idle'))
    await publish(store, key('used'))
    hold.end()
    await eventually(async () => expect(await stream(store, key('idle'))).toMatchObject({ publishers: 0 }))
    const again = await store.pick(key('idle'), 'rtmp', { role: 'publish' })
    expect(again.origin.id).toBe(backup)
    await again.release()
    const main = await store.announce(announcement('main'))
    expect((await publish(store, key('idle'))).id).toBe(main)
    expect((await publish(store, key('used'))).id).toBe(backup)
  })

  it('least-load picks who is least busy by its own word, and streams that came since count', async () => {
    const { store } = await open({ policy: 'least-load' })
    const busy = await store.announce(announcement('busy', { load: 0.7 }))
    const calm = await store.announce(announcement('calm', { load: 0.2 }))
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`a${time}`))).id).toBe(calm)
    await store.announce(announcement('calm', { load: 1 }))
    expect((await publish(store, key('b'))).id).toBe(busy)
  })

  it('least-load without the word of one origin goes by streams', async () => {
    const { store } = await open({ policy: 'least-load' })
    await store.announce(announcement('busy', { load: 0.9 }))
    await store.announce(announcement('mute'))
    for (let time = 0; time < 6; time++) await publish(store, key(`${time}`))
    expect((await store.list()).map(({ streams }) => streams)).toEqual([3, 3])
  })

  it('consistent-hash gives a key the same origin in each gateway, and a new run of a server its old share', async () => {
    const places = async (names: readonly string[], pid: string): Promise<readonly string[]> => {
      const { store } = await open({ policy: 'consistent-hash' })
      for (const name of names) await store.announce(announcement(name, { pid }))
      const servers: string[] = []
      for (let time = 0; time < 30; time++) {
        const claim = await store.pick(key(`s${time}`), 'rtmp', { role: 'publish' })
        servers.push(claim.origin.server)
        await claim.release()
      }
      return servers
    }
    const before = await places(['a', 'b', 'c'], '1')
    expect(new Set(before).size).toBe(3)
    expect(await places(['c', 'b', 'a'], '2')).toEqual(before)
    const without = await places(['a', 'b'], '1')
    expect(without.filter((server, at) => server !== before[at] && before[at] !== 'server-c')).toEqual([])
  })

  it('origins of the own zone come first, others when none of it is fit', async () => {
    const { store } = await open({ zone: 'east' })
    const near = await store.announce(announcement('near', { zone: 'east', weight: 1 }))
    const far = await store.announce(announcement('far', { zone: 'west', weight: 100 }))
    for (let time = 0; time < 20; time++) expect((await publish(store, key(`a${time}`))).id).toBe(near)
    await store.suspect(near)
    expect((await publish(store, key('b'))).id).toBe(far)
  })

  it('a stream that goes with another is led to its origin, while that is as fit as any', async () => {
    const { store } = await open()
    for (const name of ['a', 'b', 'c', 'd']) await store.announce(announcement(name))
    const { id: home } = await publish(store, key('master'))
    const near = key('master')
    for (let time = 0; time < 20; time++) {
      const claim = await store.pick(key(`rung${time}`), 'hls', { role: 'play', near })
      expect(claim.origin.id).toBe(home)
      await claim.release()
    }
    const { id: elsewhere } = await publish(store, key('own'))
    const own = await store.pick(key('own'), 'hls', { role: 'play', near })
    expect(own.origin.id).toBe(elsewhere)
    await own.release()
    await store.drain(home, true)
    const other = await store.pick(key('late'), 'hls', { role: 'play', near })
    expect(other.origin.id).not.toBe(home)
    await other.release()
  })

  it('an app goes to the origins of its rule, then to its backups, and to no other', async () => {
    const apps = [
      { app: 'live', origins: ['server-a', 'device-b'], backups: ['server-c'] },
      { app: '*', backups: ['server-a'] },
    ]
    const { store } = await open({ apps })
    const a = await store.announce(announcement('a', { isBackup: true }))
    const b = await store.announce(announcement('b', { deviceId: 'device-b' }))
    const c = await store.announce(announcement('c'))
    const d = await store.announce(announcement('d'))
    const used = new Set<OriginId>()
    for (let time = 0; time < 40; time++) used.add((await publish(store, key(`l${time}`))).id)
    expect([...used].sort()).toEqual([a, b])
    for (const origin of [a, b]) await store.drain(origin, true)
    expect((await publish(store, key('backup'))).id).toBe(c)
    await store.drain(c, true)
    await expect(store.pick(key('nobody'), 'rtmp', { role: 'publish' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
    const other = await store.pick(streamKeyOf('', 'other', 's'), 'rtmp', { role: 'publish' })
    expect(other.origin.id).toBe(d)
  })

  it('the last resort keeps to the rule of the app', async () => {
    const { store, advance } = await open({ apps: [{ app: 'live', origins: ['server-a'] }] })
    const a = await store.announce(announcement('a'))
    await advance(SETTINGS.heartbeatTtlMs)
    await store.announce(announcement('b'))
    const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    expect(claim.origin.id).toBe(a)
    await claim.failed()
    await expect(store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [a] })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
  })

  it('a role that the origin does not take is a protocol that it lacks', async () => {
    const { store } = await open()
    const urls = { rtmpPublish: 'rtmp://127.0.0.1:1/{app}/{stream}' }
    const ingest = await store.announce(announcement('ingest', { urls, rtmp: [] }))
    await expect(store.pick(key('s'), 'rtmp', { role: 'play' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
    expect((await publish(store, key('s'))).id).toBe(ingest)
    await expect(store.pick(key('s'), 'rtmp', { role: 'play' })).rejects.toMatchObject({
      code: 'BALANCER_PROTOCOL_NOT_OFFERED',
    })
  })

  it('a stream that an origin has no name for is not led there', async () => {
    const { store } = await open()
    const urls = { rtmp: 'rtmp://127.0.0.1:1/{app}/{stream}' }
    await store.announce(announcement('named', { urls, rtmp: [] }))
    const dots = parseStreamKey('__defaultVhost__/live/..')
    await expect(store.pick(dots, 'rtmp', { role: 'play' })).rejects.toMatchObject({
      code: 'BALANCER_NO_ORIGIN',
    })
    const srs = await store.announce(announcement('srs'))
    expect((await store.pick(dots, 'rtmp', { role: 'play' })).origin.id).toBe(srs)
  })
}

export function describePins(open: Open): void {
  it('whoever comes for a pinned key goes there, drained or not, until the pick is cleared', async () => {
    const { store } = await open()
    const origins = await announce(store, 4)
    const [place] = origins
    await store.drain(id(place), true)
    expect(await store.pin(key('s'), id(place))).toBe(true)
    expect(await store.streams()).toMatchObject([
      { key: key('s'), originId: place, isPinned: true, isFollowed: false, publishers: 0, players: 0 },
    ])
    const { hold } = await publish(store, key('s'))
    expect(await store.streams()).toMatchObject([{ originId: place, isPinned: true, publishers: 1 }])
    hold.end()
    await eventually(async () => expect(await stream(store, key('s'))).toMatchObject({ publishers: 0 }))
    expect((await store.pick(key('s'), 'flv', { role: 'play' })).origin.id).toBe(place)
    expect(await store.clearPick(key('s'))).toBe(true)
    expect(await store.streams()).toEqual([])
    expect(await store.clearPick(key('s'))).toBe(false)
    expect((await publish(store, key('s'))).id).not.toBe(place)
    expect(await stream(store, key('s'))).toMatchObject({ isPinned: false })
  })

  it('a pin outlasts the idle time', async () => {
    const { store, advance } = await open()
    const origins = await announce(store, 4)
    await store.pin(key('s'), id(origins[1]))
    const { hold } = await publish(store, key('s'))
    hold.end()
    await eventually(async () => expect(await stream(store, key('s'))).toMatchObject({ publishers: 0 }))
    for (let third = 0; third < 4; third++) {
      await advance(SETTINGS.pickIdleMs / 3)
      for (let at = 0; at < 4; at++) await store.announce(announcement(`${at}`, { rtmp: [2000 + at] }))
    }
    expect(await stream(store, key('s'))).toMatchObject({ isPinned: true })
    expect((await publish(store, key('s'))).id).toBe(origins[1])
  })

  it('a pin to an origin that is not fit is as none, and counts again later', async () => {
    const { store } = await open()
    const place = await store.announce(announcement('place', { http: [] }))
    const other = await store.announce(announcement('other'))
    await store.pin(key('s'), place)
    expect((await store.pick(key('s'), 'flv', { role: 'play' })).origin.id).toBe(other)
    await store.suspect(place)
    expect((await store.pick(key('s'), 'rtmp', { role: 'publish' })).origin.id).toBe(other)
    await store.announce(announcement('place', { http: [] }))
    const claim = await store.pick(key('s'), 'rtmp', { role: 'publish' })
    expect(claim.origin.id).toBe(place)
    await claim.failed()
    expect((await store.pick(key('s'), 'rtmp', { role: 'publish', avoid: [place] })).origin.id).toBe(other)
  })

  it('a live stream stays for its players, and the next publisher moves it', async () => {
    const { store } = await open()
    const old = await store.announce(announcement('old'))
    const first = await publish(store, key('s'))
    const next = await store.announce(announcement('next'))
    await store.pin(key('s'), next)
    expect(await stream(store, key('s'))).toMatchObject({ originId: old, isPinned: false, publishers: 1 })
    expect((await store.pick(key('s'), 'flv', { role: 'play' })).origin.id).toBe(old)
    // The encoder connects anew before the end of its first connection was noticed.
    expect((await publish(store, key('s'))).id).toBe(next)
    expect(await stream(store, key('s'))).toMatchObject({ originId: next, isPinned: true, publishers: 1 })
    first.hold.end()
    expect((await store.pick(key('s'), 'flv', { role: 'play' })).origin.id).toBe(next)
  })

  it('an idle pick elsewhere goes at once', async () => {
    const { store } = await open()
    await store.announce(announcement('old'))
    const { hold } = await publish(store, key('s'))
    hold.end()
    await eventually(async () => expect(await stream(store, key('s'))).toMatchObject({ publishers: 0 }))
    const next = await store.announce(announcement('next'))
    await store.pin(key('s'), next)
    expect(await store.streams()).toMatchObject([{ originId: next, isPinned: true }])
    expect((await publish(store, key('s'))).id).toBe(next)
  })

  it('a pin goes over to a new run of its server, and goes with an origin that is removed', async () => {
    const { store } = await open()
    await announce(store, 4)
    const place = await store.announce(announcement('place', { rtmp: [3000] }))
    await store.pin(key('s'), place)
    const rerun = await store.announce(announcement('place', { rtmp: [3000], pid: '2' }))
    expect(await store.findOrigin(place)).toBeUndefined()
    expect((await publish(store, key('s'))).id).toBe(rerun)
    await store.remove(rerun)
    expect(await store.streams()).toEqual([])
    expect(await store.pin(key('s'), rerun)).toBe(false)
  })
}
