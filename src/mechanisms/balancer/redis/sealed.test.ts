import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { Sealer } from './sealed.ts'

const sealer = new Sealer('a secret of the fleet', 'rtc')

it('what is sealed is opened with the same secret, purpose and context', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, context) => {
      const sealed = sealer.seal(text, context)
      expect(sealed).toMatch(/^AQ?[\w-]+$/)
      expect(new Sealer('a secret of the fleet', 'rtc').open(sealed, context)).toBe(text)
    }),
  )
})

it('the same text is sealed differently each time', () => {
  expect(sealer.seal('text', 'a:b')).not.toBe(sealer.seal('text', 'a:b'))
})

it('it is not opened with another secret, for another purpose or in another context', () => {
  const sealed = sealer.seal('text', 'a:b')
  expect(new Sealer('another secret', 'rtc').open(sealed, 'a:b')).toBeUndefined()
  expect(new Sealer('a secret of the fleet', 'turn').open(sealed, 'a:b')).toBeUndefined()
  expect(sealer.open(sealed, 'a:c')).toBeUndefined()
  expect(sealer.open(sealed, 'a:b')).toBe('text')
})

it('a changed bit anywhere is noticed', () => {
  const sealed = Buffer.from(sealer.seal('text', 'a:b'), 'base64url')
  for (let bit = 0; bit < 8 * sealed.length; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(sealer.open(changed.toString('base64url'), 'a:b'), `bit ${bit}`).toBeUndefined()
  }
})

it('any text is opened or not', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => {
      expect(sealer.open(text, 'a:b')).toBeUndefined()
    }),
  )
  expect(sealer.open('A'.repeat(100_000), 'a:b')).toBeUndefined()
})
