import { createCipheriv } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AccessToken,
  type AccessTokenSeal,
  decodeAccessToken,
  encodeAccessToken,
} from './access-token.ts'

const base64 = (text: string): Buffer => Buffer.from(text, 'base64')
const nonce = Buffer.from('h4j3kl3jn34m')

/** Made with `turnutils_oauth -e` of coturn 4.6.1. The first was also published with its example script. */
const vectors: readonly {
  readonly title: string
  readonly seal: AccessTokenSeal
  readonly nonce: Buffer
  readonly token: AccessToken
  readonly sealed: string
}[] = [
  {
    title: 'A256GCM, as in the example script of coturn',
    seal: { key: Buffer.from('HGkj32KJGiuy098sdfaqbNjOiaz71923'), serverName: 'example.com' },
    nonce: base64('tSQWFS6NeoqvYBXR'),
    token: {
      macKey: Buffer.from('ZksjpweoixXmvn67534m'),
      timestampMs: 249_231_600_000,
      lifetimeSeconds: 3600,
    },
    sealed: 'AAy1JBYVLo16iq9gFdHyyknmx5T/Lq9YlbxgUdLcStOFS0H8xhHceHOL2f49qxp4uBpGuuLeLqk+RcAa5uP2EQ==',
  },
  {
    title: 'A256GCM with another nonce',
    seal: { key: Buffer.from('HGkj32KJGiuy098sdfaqbNjOiaz71923'), serverName: 'example.com' },
    nonce,
    token: {
      macKey: Buffer.from('ZksjpweoixXmvn67534m'),
      timestampMs: 249_231_600_000,
      lifetimeSeconds: 3600,
    },
    sealed: 'AAxoNGoza2wzam4zNG3/FT8DhJ1datynF/k09MZr+2fr/ZkI6y2TUg9cw0bIJTXZezCsYbv7HiNIr8xBvWGhBg==',
  },
  {
    title: 'A128GCM',
    seal: { key: Buffer.from('1234567890123456'), serverName: 'crinna.example' },
    nonce,
    token: {
      macKey: Buffer.from('ZksjpweoixXmvn67534m'),
      timestampMs: 249_231_600_000,
      lifetimeSeconds: 3600,
    },
    sealed: 'AAxoNGoza2wzam4zNG3IjAR8Ue6KIt1IQhgeTN35KUG+5xGnzcf+0Md7bBN4k6QIxjbpXcKR48Das69MsksAdw==',
  },
  {
    title: 'A256GCM with a fraction of a second, 16400 of 64000',
    seal: { key: Buffer.from('01234567890123456789012345678901'), serverName: 'crinna.example' },
    nonce: Buffer.from('0123456789ab'),
    token: {
      macKey: Buffer.from('0123456789abcdefghij'),
      timestampMs: 249_231_600_256,
      lifetimeSeconds: 600,
    },
    sealed: 'AAwwMTIzNDU2Nzg5YWJ5pkLQjA1YwSznMbYZGwaHdJMVLIeVk7ANg5Wfql/8y6I3evovOijLfJAhEN9vQkCUAA==',
  },
]

describe('an access token', () => {
  it.each(vectors)('is opened as coturn seals it: $title', ({ seal, token, sealed }) => {
    const opened = decodeAccessToken(base64(sealed), seal)
    expect(opened).toEqual({ ...token, macKey: Uint8Array.from(token.macKey) })
  })

  // The fourth has 256.25 ms; the quarter is lost in whole milliseconds.
  it.each(vectors.slice(0, 3))('is sealed as coturn seals it: $title', ({ seal, nonce, token, sealed }) => {
    expect(encodeAccessToken(token, seal, nonce).toString('base64')).toBe(sealed)
  })

  const [{ seal, sealed, token }] = vectors as [(typeof vectors)[number]]

  it.each([
    ['another key', { ...seal, key: Buffer.alloc(32, 1) }],
    ['another size of key', { ...seal, key: seal.key.subarray(0, 16) }],
    ['another server', { ...seal, serverName: 'example.org' }],
    ['no server', { ...seal, serverName: '' }],
  ])('is not opened by %s', (_, other) => {
    expect(decodeAccessToken(base64(sealed), other)).toBe('seal')
  })

  it('is not opened when any bit of it is changed', () => {
    const bytes = base64(sealed)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(decodeAccessToken(changed, seal)).toBe(bit < 16 ? 'nonce' : 'seal')
    }
  })

  it('of every length that does not fit is refused before it is opened', () => {
    const bytes = Buffer.concat([base64(sealed), Buffer.alloc(2000)])
    const least = 2 + 12 + 2 + 16 + 8 + 4 + 16
    const most = 2 + 12 + 2 + 64 + 8 + 4 + 16
    for (let length = 0; length <= bytes.length; length++) {
      const isPossible = length >= least && length <= most
      const expected = isPossible ? 'seal' : 'length'
      if (length !== base64(sealed).length) {
        expect(decodeAccessToken(bytes.subarray(0, length), seal)).toBe(expected)
      }
    }
  })

  it.each([
    ['a MAC key longer than what is there', 60, 20, 12],
    ['a MAC key of nothing', 0, 20, 12],
    ['a MAC key that is too short', 15, 15, 17],
    ['bytes behind the lifetime', 20, 20, 13],
    ['a lifetime that breaks off', 20, 20, 11],
    ['the longest of lengths', 0xffff, 20, 12],
  ])('sealed over %s is refused', (_, claimed, keyBytes, tailBytes) => {
    const open = Buffer.alloc(2 + keyBytes + tailBytes)
    open.writeUInt16BE(claimed)
    expect(decodeAccessToken(sealOver(open), seal)).toBe('form')
  })

  it('holds a MAC key of up to 64 bytes and no longer one', () => {
    const longest = { ...token, macKey: Buffer.alloc(64, 7) }
    const opened = decodeAccessToken(encodeAccessToken(longest, seal, nonce), seal)
    expect(opened).toMatchObject({ macKey: Uint8Array.from(longest.macKey) })
    expect(() => encodeAccessToken({ ...token, macKey: Buffer.alloc(65) }, seal, nonce)).toThrow(RangeError)
    expect(() => encodeAccessToken({ ...token, macKey: Buffer.alloc(15) }, seal, nonce)).toThrow(RangeError)
    expect(() => encodeAccessToken(token, seal, nonce.subarray(1))).toThrow(RangeError)
    expect(() => encodeAccessToken(token, { ...seal, key: Buffer.alloc(24) }, nonce)).toThrow(RangeError)
    expect(() => decodeAccessToken(Buffer.alloc(80), { ...seal, key: Buffer.alloc(24) })).toThrow(RangeError)
  })

  it('comes back as it was sealed', () => {
    const tokens = fc.record({
      macKey: fc.uint8Array({ minLength: 16, maxLength: 64 }),
      timestampMs: fc.integer({ min: 0, max: 2 ** 48 }),
      lifetimeSeconds: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    })
    const seals = fc.record({
      key: fc.oneof(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
      ),
      serverName: fc.string({ unit: 'grapheme' }),
    })
    fc.assert(
      fc.property(tokens, seals, fc.uint8Array({ minLength: 12, maxLength: 12 }), (token, seal, nonce) => {
        expect(decodeAccessToken(encodeAccessToken(token, seal, nonce), seal)).toEqual(token)
      }),
    )
  })

  it('of any bytes, sealed or not, never throws and never reads beyond them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, isSealed) => {
        const value = isSealed ? sealOver(bytes) : Uint8Array.from(bytes)
        const exact = Uint8Array.from(value)
        const framed = Buffer.concat([Buffer.alloc(9, 0xaa), value, Buffer.alloc(99, 0xaa)])
        const inside = decodeAccessToken(framed.subarray(9, 9 + value.length), seal)
        expect(inside).toEqual(decodeAccessToken(exact, seal))
        if (typeof inside !== 'string') expect(inside.macKey.length).toBeLessThanOrEqual(64)
      }),
      { numRuns: 2000 },
    )
  })

  /** What an authorization server with the key, but with another form in mind, sends. */
  function sealOver(open: Uint8Array): Buffer {
    const cipher = createCipheriv('aes-256-gcm', seal.key, nonce)
    cipher.setAAD(Buffer.from(seal.serverName))
    const sealed = Buffer.concat([cipher.update(open), cipher.final()])
    return Buffer.concat([Buffer.of(0, 12), nonce, sealed, cipher.getAuthTag()])
  }
})
