import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SynCookies } from './syn-cookie.ts'

const owner = { address: '192.0.2.1', port: 4000, socketId: 7 }

test('a cookie is good for the one it was given to, in its period and the next', () => {
  const cookies = new SynCookies(Buffer.alloc(32, 1))
  const cookie = cookies.cookieFor(owner, 29_999)
  const isValid = (more: Partial<typeof owner>, nowMs: number): boolean =>
    cookies.isValid(cookie, { ...owner, ...more }, nowMs)
  expect([isValid({}, 0), isValid({}, 30_000), isValid({}, 59_999)]).toEqual([true, true, true])
  expect([isValid({}, 60_000), isValid({}, 600_000)]).toEqual([false, false])
  expect([
    isValid({ address: '192.0.2.2' }, 0),
    isValid({ port: 4001 }, 0),
    isValid({ socketId: 8 }, 0),
  ]).toEqual([false, false, false])
})

test('no other cookie is good, and none of another key', () => {
  const cookies = new SynCookies(Buffer.alloc(32, 1))
  const right = cookies.cookieFor(owner, 0)
  expect(new SynCookies(Buffer.alloc(32, 2)).isValid(right, owner, 0)).toBe(false)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (cookie) => {
      fc.pre(cookie !== right && cookie !== cookies.cookieFor(owner, -1))
      expect(cookies.isValid(cookie, owner, 0)).toBe(false)
    }),
  )
  expect(cookies.isValid(0, owner, 0)).toBe(false)
})
