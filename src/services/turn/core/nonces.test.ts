import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Nonces } from './nonces.ts'

const key = new Uint8Array(16).fill(3)
const wallMs = Date.UTC(2026, 0, 1)

function nonceOf(nonces: Nonces, address = '192.0.2.1', port = 4000, atMs = wallMs): Uint8Array {
  const nonce = new Uint8Array(nonces.length)
  nonces.write(nonce, 0, address, port, atMs)
  return nonce
}

describe('Nonces', () => {
  it('takes back what it gave, for its lifetime', () => {
    const nonces = new Nonces(key, 600, 'none')
    const nonce = nonceOf(nonces)
    expect(nonces.isGood(nonce, '192.0.2.1', 4000, wallMs)).toBe(true)
    expect(nonces.isGood(nonce, '192.0.2.1', 4000, wallMs + 600_000)).toBe(true)
    expect(nonces.isGood(nonce, '192.0.2.1', 4000, wallMs + 601_000)).toBe(false)
  })

  it('is worth nothing from another address or port', () => {
    const nonces = new Nonces(key, 600, 'none')
    const nonce = nonceOf(nonces)
    expect(nonces.isGood(nonce, '192.0.2.2', 4000, wallMs)).toBe(false)
    expect(nonces.isGood(nonce, '192.0.2.1', 4001, wallMs)).toBe(false)
    expect(nonces.isGood(nonce, '192.0.2.1', 4000 + 256, wallMs)).toBe(false)
    // Port and address are not run together.
    expect(nonces.isGood(nonceOf(nonces, '192.0.2.11', 4000), '192.0.2.1', 4000, wallMs)).toBe(false)
  })

  it('is not taken by whoever has another key, and is by who has the same', () => {
    const nonce = nonceOf(new Nonces(key, 600, 'none'))
    expect(new Nonces(new Uint8Array(16).fill(4), 600, 'none').isGood(nonce, '192.0.2.1', 4000, wallMs)).toBe(
      false,
    )
    expect(new Nonces(key, 600, 'none').isGood(nonce, '192.0.2.1', 4000, wallMs)).toBe(true)
  })

  it('allows a clock that is a little ahead, not one that is much', () => {
    const nonces = new Nonces(key, 600, 'none')
    const at = (seconds: number) => nonceOf(nonces, '192.0.2.1', 4000, wallMs + seconds * 1000)
    expect(nonces.isGood(at(5), '192.0.2.1', 4000, wallMs)).toBe(true)
    expect(nonces.isGood(at(6), '192.0.2.1', 4000, wallMs)).toBe(false)
  })

  it('refuses one whose time was changed', () => {
    const nonces = new Nonces(key, 600, 'none')
    const old = nonceOf(nonces)
    const fresh = nonceOf(nonces, '192.0.2.1', 4000, wallMs + 900_000)
    const forged = Buffer.concat([fresh.subarray(0, 5), old.subarray(5)])
    expect(nonces.isGood(forged, '192.0.2.1', 4000, wallMs + 900_000)).toBe(false)
  })

  // RFC 8489 §18.1 counts bit 0 from the most significant end; the nonce of its appendix B.1 from the other.
  it.each([
    ['none', '', 16],
    ['sha256', 'obMatJos2gAAA', 29],
    ['anonymity', 'obMatJos2wAAA', 29],
  ] as const)('with security %s begins with "%s"', (security, cookie, length) => {
    const nonce = Buffer.from(nonceOf(new Nonces(key, 600, security))).toString('latin1')
    expect(nonce).toHaveLength(length)
    expect(nonce.startsWith(cookie)).toBe(true)
  })

  it('refuses one with the bits of another security, or with the cookie counted from the other end', () => {
    const nonces = new Nonces(key, 600, 'sha256')
    const nonce = Buffer.from(nonceOf(nonces))
    for (const cookie of ['obMatJos2AAAA', 'obMatJos2wAAA', 'obMatJos2AAAC']) {
      const changed = Buffer.from(nonce)
      changed.write(cookie, 'latin1')
      expect(nonces.isGood(changed, '192.0.2.1', 4000, wallMs)).toBe(false)
    }
    expect(nonces.isGood(nonce.subarray(13), '192.0.2.1', 4000, wallMs)).toBe(false)
    expect(nonces.isGood(nonce, '192.0.2.1', 4000, wallMs)).toBe(true)
  })

  it('never throws, and takes nothing that it did not give', () => {
    const nonces = new Nonces(key, 600, 'none')
    const anything = fc.oneof(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.string({ minLength: 16, maxLength: 16, unit: 'grapheme-ascii' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 40 }),
    )
    fc.assert(
      fc.property(anything, (nonce) => {
        expect(nonces.isGood(nonce, '192.0.2.1', 4000, wallMs)).toBe(false)
      }),
    )
    // Nothing of this is base64, so not even a time comes out of it.
    expect(nonces.isGood(Buffer.from('!'.repeat(16)), '192.0.2.1', 4000, wallMs)).toBe(false)
  })
})
