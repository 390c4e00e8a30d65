import { expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { type Idleable, IdleTable } from './idle-table.ts'

interface Named extends Idleable {
  readonly name: string
}

function table(maxEntries: number) {
  const clock = new ManualClock()
  const gone: string[] = []
  const values = new IdleTable<Named>({
    maxEntries,
    idleMs: 30_000,
    clock,
    onGone: ({ name }) => void gone.push(name),
  })
  const add = (name: string): void => values.add(name, { name, lastMs: clock.nowMs() })
  const use = (name: string): void => {
    const value = values.get(name)
    if (value !== undefined) value.lastMs = clock.nowMs()
  }
  return { clock, gone, values, add, use }
}

it.each(['a', 'b', 'c'])('for one too many the one that was idle longest goes: %s', (oldest) => {
  const { clock, gone, add, use } = table(3)
  for (const name of ['a', 'b', 'c']) add(name)
  clock.advance(1)
  for (const name of ['a', 'b', 'c']) if (name !== oldest) use(name)
  clock.advance(1)
  add('d')
  expect(gone).toEqual([oldest])
})

it('what is not used goes after its time, and at most a sixth later', () => {
  const { clock, gone, add, use, values } = table(10)
  add('a')
  clock.advance(20_000)
  add('b')
  clock.advance(9_999)
  expect(gone).toEqual([])
  use('b')
  clock.advance(5_001)
  expect(gone).toEqual(['a'])
  clock.advance(29_998)
  expect(gone).toEqual(['a', 'b'])
  expect(values.size).toBe(0)
  expect(clock.pending).toBe(0)
})

it('a close drops all, and leaves no timer', () => {
  const { clock, gone, add, values } = table(10)
  add('a')
  add('b')
  values.close()
  expect(gone).toEqual(['a', 'b'])
  expect(clock.pending).toBe(0)
})
