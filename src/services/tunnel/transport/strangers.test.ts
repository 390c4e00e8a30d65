import { describe, expect, it } from 'vitest'
import { Strangers } from './strangers.ts'

function strangersOf(
  most: number,
  perAddress: number,
): { strangers: Strangers; cut: string[]; come: (name: string, address: string) => () => void } {
  const strangers = new Strangers({ maxUnauthenticated: most, maxUnauthenticatedPerAddress: perAddress })
  const cut: string[] = []
  const come = (name: string, address: string): (() => void) => {
    const stranger = strangers.add(address, () => cut.push(name))
    return () => stranger.remove()
  }
  return { strangers, cut, come }
}

describe('Strangers', () => {
  it('cuts the oldest of all when there are too many', () => {
    const { strangers, cut, come } = strangersOf(2, 9)
    come('a', '1')
    come('b', '2')
    come('c', '3')
    expect([cut, strangers.size, strangers.displaced]).toEqual([['a'], 2, 1])
  })

  it('cuts the oldest of an address that has too many, rather than others', () => {
    const { strangers, cut, come } = strangersOf(3, 2)
    come('other', '2')
    come('a', '1')
    come('b', '1')
    come('c', '1')
    come('d', '1')
    expect([cut, strangers.size]).toEqual([['a', 'b'], 3])
  })

  it('forgets who is known or gone, once', () => {
    const { strangers, cut, come } = strangersOf(2, 2)
    const leave = come('a', '1')
    come('b', '1')
    leave()
    leave()
    expect(strangers.size).toBe(1)
    come('c', '1')
    expect([cut, strangers.displaced]).toEqual([[], 0])
  })
})
