import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { GuessGuard } from './guess-guard.ts'

function open() {
  const clock = new ManualClock()
  const guard = new GuessGuard(clock)
  const wrong = (count: number, source = 'a'): void => {
    for (let i = 0; i < count; i++) guard.wrong(source)
  }
  return { clock, guard, wrong }
}

describe('GuessGuard', () => {
  it('looks at everything until a source was wrong too often in a minute', () => {
    const { clock, guard, wrong } = open()
    wrong(2)
    expect(guard.allowed('a', ['x', 'y'], 3)).toEqual(['x', 'y'])
    wrong(1)
    expect(guard.allowed('a', ['x', 'y'], 3)).toEqual([])
    expect(guard.allowed('b', ['x'], 3)).toEqual(['x'])
    clock.advance(59_999)
    expect(guard.allowed('a', ['x'], 3)).toEqual([])
    clock.advance(1)
    expect(guard.allowed('a', ['x'], 3)).toEqual(['x'])
    // The new minute starts from nothing.
    wrong(2)
    expect(guard.allowed('a', ['x'], 3)).toEqual(['x'])
    wrong(1)
    expect(guard.allowed('a', ['x'], 3)).toEqual([])
  })

  it('goes on looking at what was right from there, within a second bound', () => {
    const { guard, wrong } = open()
    guard.right('a', 'x')
    wrong(3)
    expect(guard.allowed('a', ['y', 'x'], 3)).toEqual(['x'])
    expect(guard.allowed('b', ['x'], 3)).toEqual(['x'])
    wrong(26)
    expect(guard.allowed('a', ['x'], 3)).toEqual(['x'])
    wrong(1)
    expect(guard.allowed('a', ['x'], 3)).toEqual([])
  })

  it('does not take what was right elsewhere', () => {
    const { guard, wrong } = open()
    guard.right('b', 'x')
    wrong(3)
    expect(guard.allowed('a', ['x'], 3)).toEqual([])
  })

  it('bounds nothing with a bound of 0', () => {
    const { guard, wrong } = open()
    wrong(10_000)
    expect(guard.allowed('a', ['x'], 0)).toEqual(['x'])
  })
})
