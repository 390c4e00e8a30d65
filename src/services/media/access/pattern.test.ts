import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Pattern } from './pattern.ts'

describe('Pattern', () => {
  it.for([
    ['live', 'live', true],
    ['live', 'live2', false],
    ['live', 'Live', false],
    ['*', '', true],
    ['*', 'a/b', true],
    ['live*', 'live', true],
    ['live*', 'live/room', true],
    ['*live', 'alive', true],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['ab*ba', 'aba', false],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*b*b', 'ab', false],
    ['a*b*b', 'abb', true],
    ['*a*a*', 'a', false],
    ['a**b', 'ab', true],
    ['', '', true],
    ['', 'a', false],
    ['a.c', 'abc', false],
    ['[ab]', 'a', false],
  ] as const)('%s and %s: %s', ([pattern, text, is]) => {
    expect(new Pattern(pattern).matches(text)).toBe(is)
  })

  const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
  it('says what a regular expression says', () => {
    fc.assert(
      fc.property(pattern, letters, (form, text) => {
        const oracle = new RegExp(`^${form.replaceAll('*', '.*')}$`, 's')
        expect(new Pattern(form).matches(text)).toBe(oracle.test(text))
      }),
    )
  })

  it('takes no longer for a hostile pair', () => {
    const startMs = performance.now()
    expect(new Pattern('*a'.repeat(250)).matches('a'.repeat(249) + 'b'.repeat(1200))).toBe(false)
    expect(performance.now() - startMs).toBeLessThan(5000)
  })
})
