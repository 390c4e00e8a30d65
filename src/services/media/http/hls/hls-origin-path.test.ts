import { describe, expect, it } from 'vitest'
import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'
import { isPlainPath, OriginPaths } from './hls-origin-path.ts'

const KEY = '__defaultVhost__/live/s' as StreamKey

describe('OriginPaths', () => {
  it('leaves paths of SRS as they are, and knows which are the stream’s by name', () => {
    const paths = new OriginPaths('/live/s.m3u8', { name: undefined }, KEY)
    expect(paths.toClient('/any/x.ts')).toBe('/any/x.ts')
    expect(paths.toOrigin('/live/s-1.ts')).toEqual({ path: '/live/s-1.ts', isOwn: true })
    expect(paths.toOrigin('/live/s/1.ts')).toEqual({ path: '/live/s/1.ts', isOwn: true })
    expect(paths.toOrigin('/live/sx-1.ts')).toEqual({ path: '/live/sx-1.ts', isOwn: false })
    expect(paths.toOrigin('/other/s-1.ts')).toEqual({ path: '/other/s-1.ts', isOwn: false })
  })

  it('maps both ways what lies below and beside the playlist of another origin', () => {
    const paths = new OriginPaths('/live/s.m3u8', { name: '/hls/live/s/index.m3u8?key=x' }, KEY)
    expect(paths.playlist).toBe('/hls/live/s/index.m3u8')
    for (const [origin, client] of [
      ['/hls/live/s/1.mp4', '/live/1.mp4'],
      ['/hls/live/s/v/1.mp4', '/live/v/1.mp4'],
      ['/hls/live/t/1.mp4', '/live/@origin/hls/live/t/1.mp4'],
    ] as const) {
      expect(paths.toClient(origin)).toBe(client)
      expect(paths.toOrigin(client)).toEqual({ path: origin, isOwn: origin.startsWith('/hls/live/s/') })
    }
    expect(paths.toOrigin('/other/1.mp4')).toBeUndefined()
  })

  it('does not take a directory of many streams for one of its own', () => {
    const paths = new OriginPaths('/live/s.m3u8', { name: '/hls/s.m3u8' }, KEY)
    expect(paths.toOrigin('/live/s-1.ts')).toEqual({ path: '/hls/s-1.ts', isOwn: true })
    expect(paths.toOrigin('/live/t-1.ts')).toEqual({ path: '/hls/t-1.ts', isOwn: false })
  })
})

describe('isPlainPath', () => {
  it('refuses what somebody may resolve', () => {
    for (const path of ['/a/../b', '/a/..', '/./a', '/a/%2e%2E/b', '/a/.%2e', '/a%2fb', '/a%5Cb', '/a\\b']) {
      expect([path, isPlainPath(path)]).toEqual([path, false])
    }
    for (const path of ['/a/b.ts', '/a/..b', '/a/b..', '/a/.b', '/a//b', '/a/%20']) {
      expect([path, isPlainPath(path)]).toEqual([path, true])
    }
  })
})
