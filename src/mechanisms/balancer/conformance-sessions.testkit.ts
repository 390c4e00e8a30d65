import { expect, it } from 'vitest'
import { announcement, SETTINGS, key, type Open } from './conformance-kit.testkit.ts'
import type { RtcResource, RtcSession } from './contract.ts'
import { originIdOf } from './origin-id.ts'

export function describeSessions(open: Open): void {
  it('a session is found by its USERNAME and by the hash of its token, as it was added', async () => {
    const { store } = await open()
    const first = session('a:b', { tokenHash: 'one' })
    const restarted = session('c:d', { tokenHash: 'one' })
    await store.addSession(first)
    await store.addSession(session('e:f', { tokenHash: 'two' }))
    expect(await store.findSession('a:b')).toEqual(first)
    expect(await store.findSession('b:a')).toBeUndefined()
    expect(await store.findSessionOfToken('one')).toEqual(first)
    expect(await store.findSessionOfToken('three')).toBeUndefined()
    await store.addSession(restarted)
    expect(await store.findSessionOfToken('one')).toEqual(restarted)
    await store.removeSession('a:b')
    await store.removeSession('a:b')
    expect(await store.findSession('a:b')).toBeUndefined()
    expect(await store.findSessionOfToken('one')).toEqual(restarted)
    await store.removeSession('c:d')
    expect(await store.findSessionOfToken('one')).toBeUndefined()
    expect(await store.findSessionOfToken('two')).toBeDefined()
  })

  it('a USERNAME that is live is refused, and free again afterwards', async () => {
    const { store, advance } = await open()
    await store.addSession(session('a:b', { tokenHash: 'one' }))
    await expect(store.addSession(session('a:b', { tokenHash: 'two' }))).rejects.toMatchObject({
      code: 'BALANCER_SESSION_EXISTS',
      status: 409,
      side: 'client',
    })
    expect(await store.findSessionOfToken('two')).toBeUndefined()
    await store.removeSession('a:b')
    await store.addSession(session('a:b', { tokenHash: 'two' }))
    await advance(SETTINGS.sessionTtlMs)
    await store.addSession(session('a:b', { tokenHash: 'three' }))
    expect(await store.findSessionOfToken('two')).toBeUndefined()
    expect(await store.findSessionOfToken('three')).toMatchObject({ username: 'a:b' })
  })

  it('a session lives as long as it is looked up or renewed', async () => {
    const { store, advance } = await open()
    await store.addSession(session('used:x'))
    await store.addSession(session('by-token:x', { tokenHash: 'used' }))
    await store.addSession(session('renewed:x'))
    await store.addSession(session('taken:x'))
    await store.addSession(session('left:x'))
    await advance(SETTINGS.sessionTtlMs - 1000)
    expect(await store.findSession('used:x')).toBeDefined()
    expect(await store.findSessionOfToken('used')).toBeDefined()
    await store.renewSession('renewed:x')
    await store.renewSession('absent:x')
    await store.takeSession('taken:x')
    await advance(1000)
    expect(await store.findSession('left:x')).toBeUndefined()
    for (const username of ['renewed:x', 'used:x', 'by-token:x', 'taken:x'])
      expect(await store.findSession(username), username).toBeDefined()
    await advance(SETTINGS.sessionTtlMs)
    for (const username of ['renewed:x', 'used:x', 'by-token:x', 'taken:x'])
      expect(await store.findSession(username), username).toBeUndefined()
  })

  it('a session of another program has no password and no resource', async () => {
    const { store } = await open()
    const { icePassword: _, resource: __, ...bare } = session('a:b')
    await store.addSession(bare)
    expect(await store.findSession('a:b')).toEqual(bare)
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

function session(username: string, resource: Partial<RtcResource> = {}): RtcSession {
  return {
    streamKey: key('s'),
    role: 'play',
    username,
    originId: originIdOf(announcement('a')),
    originAddress: '127.0.0.1',
    originPort: 8000,
    icePassword: 'secret-of-the-answer',
    resource: {
      id: username,
      tokenHash: username,
      originUrl: 'http://127.0.0.1:1985/rtc/v1/whip/?action=delete',
      clientAddress: '192.0.2.1',
      sinceMs: 1_700_000_000_000,
      hasTcp: false,
      ...resource,
    },
  }
}
