import { expect, it } from 'vitest'
import { announcement, SETTINGS, key, type Open } from './conformance-kit.testkit.ts'
import type { RtcSession } from './contract.ts'
import { originIdOf } from './origin-id.ts'

export function describeSessions(open: Open): void {
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

export function describeHlsSessions(open: Open): void {
  it('a stream has one session, found by its id of 7 hexadecimal digits', async () => {
    const { store } = await open()
    const url = 'http://127.0.0.1/live/s.m3u8'
    const opened = await store.openHls(key('s'), url)
    expect(opened).toEqual({ id: expect.stringMatching(/^[0-9a-f]{7}$/), streamKey: key('s'), fullUrl: url })
    expect(await store.openHls(key('s'), 'http://other/live/s.m3u8')).toEqual(opened)
    expect(await store.findHls(opened.id)).toEqual(opened)
    const other = await store.openHls(key('other'), url)
    expect(other.id).not.toBe(opened.id)
    expect(await store.findHls('no such')).toBeUndefined()
    expect(await store.findHls('')).toBeUndefined()
  })

  it('a session lives as long as its playlist or its segments are asked for', async () => {
    const { store, advance } = await open()
    const byPlaylist = await store.openHls(key('playlist'), 'http://h/playlist.m3u8')
    const bySegment = await store.openHls(key('segment'), 'http://h/segment.m3u8')
    const left = await store.openHls(key('left'), 'http://h/left.m3u8')
    for (let time = 0; time < 3; time++) {
      await advance(SETTINGS.hlsTtlMs - 1000)
      expect(await store.openHls(key('playlist'), 'http://h/playlist.m3u8')).toEqual(byPlaylist)
      expect(await store.findHls(bySegment.id)).toEqual(bySegment)
    }
    expect(await store.findHls(left.id)).toBeUndefined()
    await advance(SETTINGS.hlsTtlMs)
    expect(await store.findHls(byPlaylist.id)).toBeUndefined()
    expect((await store.openHls(key('left'), 'http://h/new.m3u8')).fullUrl).toBe('http://h/new.m3u8')
  })
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
