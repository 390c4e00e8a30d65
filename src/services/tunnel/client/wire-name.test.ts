import { expect, it } from 'vitest'
import { ownName, wireName } from './wire-name.ts'

it('a user stands in front of his names, once', () => {
  expect(wireName('', 'p')).toBe('p')
  expect(wireName('u', 'p')).toBe('u.p')
  expect(ownName('', 'u.p')).toBe('u.p')
  expect(ownName('u', 'u.p')).toBe('p')
  expect(ownName('u', 'u.u.p')).toBe('u.p')
  expect(ownName('u', 'other.p')).toBe('other.p')
})
