import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasPort, noPorts, type PortRanges, subtractPorts, unitePorts } from './port-ranges.ts'

const fewPorts = Array.from({ length: 30 }, (_, i) => i + 1)
const ranges = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 8 })), { maxLength: 5 })
  .map((parts) =>
    parts.reduce<PortRanges>((all, [from, more]) => unitePorts(all, [from, from + more]), noPorts),
  )

test('union and difference are those of the sets', () => {
  fc.assert(
    fc.property(ranges, ranges, (one, other) => {
      for (const port of fewPorts) {
        const [inOne, inOther] = [hasPort(one, port), hasPort(other, port)]
        expect(hasPort(unitePorts(one, other), port)).toBe(inOne || inOther)
        expect(hasPort(subtractPorts(one, other), port)).toBe(inOne && !inOther)
      }
    }),
  )
})

test('ranges ascend with gaps between, so that an empty one means no port', () => {
  expect(unitePorts([1, 5], [6, 9])).toEqual([1, 9])
  expect(unitePorts([20, 30], [1, 5])).toEqual([1, 5, 20, 30])
  expect(subtractPorts([1, 65_535], [1, 1, 65_535, 65_535])).toEqual([2, 65_534])
  expect(subtractPorts([1, 9], unitePorts([1, 5], [5, 9]))).toEqual(noPorts)
})
