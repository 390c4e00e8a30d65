import { describe, expect, it } from 'vitest'
import { SipHash } from './siphash.ts'

const key = Uint8Array.from({ length: 16 }, (_, i) => i)

function digest(length: number): string {
  const hash = new SipHash(key)
  hash.hash(
    Uint8Array.from({ length }, (_, i) => i),
    length,
  )
  return hash.high.toString(16).padStart(8, '0') + hash.low.toString(16).padStart(8, '0')
}

describe('SipHash', () => {
  // The first is the example of the paper's appendix A, the others those of its reference implementation.
  it('agrees with the published vectors', () => {
    expect(digest(15)).toBe('a129ca6149be45e5')
    expect(digest(0)).toBe('726fdb47dd0e0e31')
    expect(digest(1)).toBe('74f839c593dc67fd')
    expect(digest(8)).toBe('93f5f5799a932462')
  })

  it('differs with the key', () => {
    const [one, other] = [new SipHash(key), new SipHash(Uint8Array.from(key, (byte) => byte ^ 1))]
    one.hash(key, 16)
    other.hash(key, 16)
    expect(one.low).not.toBe(other.low)
  })
})
