import { expect, it } from 'vitest'
import { canonicalAddress, familyOf } from './ip-address.ts'

it.each([
  ['127.0.0.1', '127.0.0.1'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8:0:0:1::A', '2001:db8::1:0:0:a'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['fe80:0::1%eth0', 'fe80::1%eth0'],
])('%s is %s', (text, canonical) => {
  expect(canonicalAddress(text)).toBe(canonical)
  expect(canonicalAddress(canonical)).toBe(canonical)
  expect(familyOf(canonical)).toBe(canonical.includes(':') ? 6 : 4)
})

it.each(['', 'localhost', '127.1', '127.0.0.01', '[::1]', '::1::', '1.2.3.4:5'])('refuses "%s"', (text) => {
  expect(() => canonicalAddress(text)).toThrow(expect.objectContaining({ code: 'DATAPATH_INVALID' }))
})
