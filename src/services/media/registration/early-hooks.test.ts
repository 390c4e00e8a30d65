import { expect, it } from 'vitest'
import { parseStreamKey } from '../../../mechanisms/balancer/index.ts'
import { EarlyHooks } from './early-hooks.ts'

const origin = (server: string) => ({ server, service: 's' })
const key = (name: string) => parseStreamKey(`v/live/${name}`)

it('remembers what is live at an origin until that announces itself', () => {
  const hooks = new EarlyHooks()
  hooks.note(origin('a'), key('x'), true)
  hooks.note(origin('a'), key('y'), true)
  hooks.note(origin('a'), key('x'), false)
  hooks.note(origin('b'), key('z'), true)
  expect([...hooks.take(origin('a'))]).toEqual([key('y')])
  expect([...hooks.take(origin('a'))]).toEqual([])
  expect([...hooks.take(origin('b'))]).toEqual([key('z')])
})

it('is bounded for one origin and for all of them', () => {
  const hooks = new EarlyHooks()
  for (let at = 0; at < 1500; at++) hooks.note(origin('one'), key(String(at)), true)
  expect([...hooks.take(origin('one'))]).toHaveLength(1000)
  for (let server = 0; server < 100; server++) {
    for (let at = 0; at < 1000; at++) hooks.note(origin(`o${server}`), key(String(at)), true)
  }
  let held = 0
  for (let server = 0; server < 100; server++) held += [...hooks.take(origin(`o${server}`))].length
  expect(held).toBeGreaterThan(10_000)
  expect(held).toBeLessThanOrEqual(20_000)
})
