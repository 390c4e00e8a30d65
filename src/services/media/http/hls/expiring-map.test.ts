import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { ExpiringMap } from './expiring-map.ts'

describe('ExpiringMap', () => {
  it('forgets what is not used, and keeps what is', () => {
    const clock = new ManualClock()
    const map = new ExpiringMap<number>({ clock, ttlMs: 1000, maxEntries: 10 })
    map.set('used', 1)
    map.set('set', 2)
    map.set('idle', 3)
    clock.advance(900)
    expect(map.get('used')).toBe(1)
    map.set('set', 4)
    clock.advance(100)
    expect(map.size).toBe(2)
    expect([map.get('used'), map.get('set'), map.get('idle')]).toEqual([1, 4, undefined])
    clock.advance(1000)
    expect(map.get('used')).toBeUndefined()
    expect(map.size).toBe(0)
  })

  it('drops the one unused for longest at its bound', () => {
    const clock = new ManualClock()
    const map = new ExpiringMap<number>({ clock, ttlMs: 1000, maxEntries: 2 })
    map.set('a', 1)
    map.set('b', 2)
    clock.advance(200)
    map.get('a')
    map.set('c', 3)
    expect([map.get('a'), map.get('b'), map.get('c'), map.size]).toEqual([1, undefined, 3, 2])
  })
})
