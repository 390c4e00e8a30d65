import { describe, expect, it } from 'vitest'
import { AddressRanges } from './address-ranges.ts'

describe('address ranges', () => {
  it('find addresses of both families, mapped ones as IPv4', () => {
    const ranges = new AddressRanges(['10.0.0.0/8', '192.0.2.1', 'fd00::/8', '::1'])
    for (const inside of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.1', 'fd12::1', '::1']) {
      expect(ranges.has(inside)).toBe(true)
    }
    for (const outside of ['11.0.0.1', '192.0.2.2', '::2', '', 'x', '::ffff:11.0.0.1']) {
      expect(ranges.has(outside)).toBe(false)
    }
  })

  it.each(['', 'x', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '::/129', '10.0.0/8'])(
    '"%s" is refused',
    (range) => {
      expect(() => new AddressRanges([range])).toThrow(expect.objectContaining({ code: 'NET_BAD_RANGE' }))
    },
  )
})
