import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalAddress } from '../control/ip-address.ts'
import { packAddress, packedAddressBytes, unpackAddress, unpackPort } from './packed-address.ts'

describe('packed addresses', () => {
  const port = fc.integer({ min: 0, max: 65_535 })

  it('give back the canonical text of any address, and its port', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, fc.nat({ max: 40 }), (address, port, offset) => {
        const view = new DataView(new ArrayBuffer(offset + packedAddressBytes))
        for (let at = 0; at < view.byteLength; at++) view.setUint8(at, 0xee)
        packAddress(view, offset, { address, port })
        // An IPv4-mapped address stays what it is on the wire.
        const expected = canonicalAddress(address)
        expect(canonicalAddress(unpackAddress(view, offset))).toBe(expected)
        expect(unpackPort(view, offset)).toBe(port)
        for (let at = 0; at < offset; at++) expect(view.getUint8(at)).toBe(0xee)
      }),
    )
  })

  it('leave nothing of an earlier one in their room', () => {
    const pack = (view: DataView, address: string): string => {
      packAddress(view, 0, { address, port: 9 })
      return Buffer.from(view.buffer).toString('hex')
    }
    const used = new DataView(new ArrayBuffer(packedAddressBytes))
    for (const address of ['2001:db8::1', '192.0.2.1', '::1', '10.0.0.1']) {
      expect(pack(used, address)).toBe(pack(new DataView(new ArrayBuffer(packedAddressBytes)), address))
    }
  })

  it('know an interface by name and by number', () => {
    const view = new DataView(new ArrayBuffer(packedAddressBytes))
    packAddress(view, 0, { address: 'fe80::1%1', port: 1 })
    // Number 1 is the loopback interface.
    expect(unpackAddress(view, 0)).toMatch(/^fe80::1%(lo|1)$/)
    packAddress(view, 0, { address: 'fe80::1%99999', port: 1 })
    expect(unpackAddress(view, 0)).toBe('fe80::1%99999')
  })

  it.each([
    'localhost',
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '1.2.3.0004',
    '1..3.4',
    '1.2.3.4 ',
    '::g',
    'fe80::1%nosuch',
    'fe80::1%0',
  ])('refuse "%s"', (address) => {
    const view = new DataView(new ArrayBuffer(packedAddressBytes))
    expect(() => packAddress(view, 0, { address, port: 1 })).toThrow(
      expect.objectContaining({ code: 'DATAPATH_INVALID' }),
    )
  })
})
