import { describe, expect, it } from 'vitest'
import { SessionCounts } from './session-counts.ts'

describe('SessionCounts', () => {
  it('counts all of them or none', () => {
    const counts = new SessionCounts()
    const both = [
      { name: 'a', max: 0 },
      { name: 'b', max: 1 },
    ]
    expect(counts.take(both)).toBeUndefined()
    expect(counts.take(both)).toBe('b')
    expect(counts.take([{ name: 'a', max: 2 }])).toBeUndefined()
    expect(counts.take([{ name: 'a', max: 2 }])).toBe('a')
  })

  it('knows nothing of what has none', () => {
    const counts = new SessionCounts()
    for (let i = 0; i < 3; i++) counts.take([{ name: 'a', max: 0 }])
    counts.give(['a', 'a'])
    expect(counts.size).toBe(1)
    counts.give(['a'])
    expect(counts.size).toBe(0)
  })
})
