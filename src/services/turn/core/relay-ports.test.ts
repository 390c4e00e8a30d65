import { describe, expect, it } from 'vitest'
import { RelayPorts } from './relay-ports.ts'
import { pseudoRandom } from './turn-kit.testkit.ts'

function ports(): RelayPorts {
  return new RelayPorts(pseudoRandom())
}

function takeAll(
  of: RelayPorts,
  from: number,
  to: number,
  kind: 'any' | 'even' | 'pair',
  nowMs = 0,
): number[] {
  const taken: number[] = []
  for (let port = of.take(from, to, kind, nowMs); port !== undefined; port = of.take(from, to, kind, nowMs)) {
    taken.push(port)
  }
  return taken
}

function sorted(ports: readonly number[]): readonly number[] {
  return ports.toSorted((one, other) => one - other)
}

describe('RelayPorts', () => {
  it('gives every port of a range once, in no order that can be guessed', () => {
    const taken = takeAll(ports(), 50_000, 50_099, 'any')
    expect(sorted(taken)).toEqual(Array.from({ length: 100 }, (_, i) => 50_000 + i))
    const steps = taken.slice(1).map((port, i) => port - (taken[i] ?? 0))
    expect(new Set(steps).size).toBeGreaterThan(40)
  })

  it('gives even ports, of ranges that begin and end with odd ones too', () => {
    expect(sorted(takeAll(ports(), 50_001, 50_007, 'even'))).toEqual([50_002, 50_004, 50_006])
    expect(takeAll(ports(), 50_001, 50_001, 'even')).toEqual([])
    expect(takeAll(ports(), 50_001, 50_000, 'any')).toEqual([])
  })

  it('gives pairs whose second port is in the range and free', () => {
    const of = ports()
    expect(sorted(takeAll(of, 50_000, 50_004, 'pair'))).toEqual([50_000, 50_002])
    expect(takeAll(of, 50_000, 50_004, 'any')).toEqual([50_004])
  })

  it('lets a port rest for a minute after it was used, unless there is no other', () => {
    const of = ports()
    const first = of.take(50_000, 50_001, 'any', 0)
    of.release(first ?? 0, 0)
    const other = of.take(50_000, 50_001, 'any', 0)
    expect(other).not.toBe(first)
    expect(of.take(50_000, 50_001, 'any', 0)).toBe(first)
    expect(of.take(50_000, 50_001, 'any', 0)).toBeUndefined()
  })

  it('gives a port that has rested like any other', () => {
    const of = ports()
    for (const port of takeAll(of, 50_000, 50_019, 'any')) of.release(port, 0)
    const early = of.take(50_000, 50_019, 'any', 1000)
    expect(early).toBeDefined()
    expect(takeAll(of, 50_000, 50_019, 'any', 60_000)).toHaveLength(19)
  })

  it('is not confused by what was never taken, or is given back twice', () => {
    const of = ports()
    of.release(50_000, 0)
    expect(takeAll(of, 50_000, 50_001, 'any')).toHaveLength(2)
    of.release(50_000, 0)
    of.release(50_000, 0)
    expect(takeAll(of, 50_000, 50_001, 'any')).toEqual([50_000])
  })

  it('loses none however often ports are taken and given back', () => {
    let seed = 1
    const of = new RelayPorts((count) =>
      Uint8Array.from({ length: count }, () => {
        seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
        return seed >>> 24
      }),
    )
    // More than are remembered to rest.
    for (let i = 0; i < 80_000; i++) {
      const port = of.take(50_000, 50_003, 'any', i)
      if (port === undefined) throw new TypeError(`none left after ${i}`)
      of.release(port, i)
    }
    expect(takeAll(of, 50_000, 50_003, 'any', 80_000)).toHaveLength(4)
  })
})
