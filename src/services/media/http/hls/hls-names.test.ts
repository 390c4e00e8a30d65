import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'
import { HlsNames, type NameOwner } from './hls-names.ts'

const VHOST = '__defaultVhost__'

function named(name: string, vhost: string = VHOST): NameOwner {
  return { vhost, key: `${vhost}/live/${name}` as StreamKey, need: 'hls', playlistPath: `/live/${name}.m3u8` }
}

function newNames(maxEntries = 100): HlsNames {
  return new HlsNames({ clock: new ManualClock(), ttlMs: 1000, maxEntries })
}

describe('HlsNames', () => {
  it('finds paths that were named, and those that count on', () => {
    const names = newNames()
    names.addPath('/live/s-33.ts', named('s'), true)
    names.addPath('/live/key-1.bin', named('s'), false)
    const keyOf = (path: string): string | undefined => names.find(VHOST, path)?.key
    expect(keyOf('/live/s-33.ts')).toBe(named('s').key)
    expect(keyOf('/live/s-34.ts')).toBe(named('s').key)
    expect(keyOf('/live/s-34.aac')).toBeUndefined()
    expect(keyOf('/live/key-1.bin')).toBe(named('s').key)
    expect(keyOf('/live/key-2.bin')).toBeUndefined()
  })

  it('finds files named like a playlist, the longest name first, but no live stream', () => {
    const names = newNames()
    names.addPlaylist(named('s'))
    names.addPlaylist(named('s-2'))
    const keyOf = (path: string): string | undefined => names.find(VHOST, path)?.key
    expect(keyOf('/live/s-33.m4s')).toBe(named('s').key)
    expect(keyOf('/live/s-2-33.m4s')).toBe(named('s-2').key)
    expect(keyOf('/live/s/720/init.mp4')).toBe(named('s').key)
    expect(keyOf('/live/sx.m4s')).toBeUndefined()
    expect(keyOf('/live/s.mp4')).toBeUndefined()
    for (const path of ['/live/s-33.ts', '/live/s/a.aac', '/live/s-hd.mp3', '/live/s-hd.flv']) {
      expect([path, names.knows(path)]).toEqual([path, false])
    }
  })

  it('keeps vhosts apart', () => {
    const names = newNames()
    names.addPath('/live/s-1.ts', named('s', 'a.example.com'), true)
    names.addPath('/live/s-1.ts', named('s', 'b.example.com'), true)
    expect(names.find('a.example.com', '/live/s-1.ts')?.key).toBe('a.example.com/live/s')
    expect(names.find('b.example.com', '/live/s-1.ts')?.key).toBe('b.example.com/live/s')
    expect(names.find(VHOST, '/live/s-1.ts')).toBeUndefined()
  })

  it('tells what a stream named from what others did', () => {
    const names = newNames()
    names.addPath('/keys/1', named('s'), false)
    names.addPath('/media/s/', named('s'), false)
    names.addPrefix('/live/chunk-', named('t'))
    expect(names.isNamed(named('s').key, '/keys/1')).toBe(true)
    expect(names.isNamed(named('t').key, '/keys/1')).toBe(false)
    expect(names.isNamed(named('s').key, '/media/s/a/b.m4s')).toBe(true)
    expect(names.isNamed(named('s').key, '/media/t/b.m4s')).toBe(false)
    expect(names.isNamed(named('t').key, '/live/chunk-a.m4s')).toBe(true)
    expect(names.isNamed(named('s').key, '/live/chunk-a.m4s')).toBe(false)
  })

  it('remembers so many names, and so many streams of one', () => {
    const names = newNames(3)
    for (let count = 0; count < 10; count++) names.addPath(`/live/${count}.ts`, named('s'), true)
    expect(
      Array.from({ length: 10 }, (_, count) => names.knows(`/live/${count}.ts`)).filter(Boolean),
    ).toHaveLength(3)
    names.addPath(`/${'a'.repeat(1024)}`, named('s'), true)
    expect(names.knows(`/${'a'.repeat(1024)}`)).toBe(false)
    for (let count = 0; count < 20; count++) names.addPath('/live/seg.ts', named(`s${count}`), true)
    expect(names.isNamed(named('s11').key, '/live/seg.ts')).toBe(false)
    expect(names.isNamed(named('s12').key, '/live/seg.ts')).toBe(true)
    expect(names.find(VHOST, '/live/seg.ts')?.key).toBe(named('s19').key)
  })
})
