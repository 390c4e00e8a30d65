import { describe, expect, it } from 'vitest'
import {
  decodeErrorCode,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
  verifyFingerprint,
} from '../../../protocols/stun/index.ts'
import { Challenge } from './challenge.ts'
import { Nonces, type Security } from './nonces.ts'
import { udpTransport } from './test-client.testkit.ts'

const client = { address: '192.0.2.1', port: 4000 }
const wallMs = Date.UTC(2026, 0, 1)

function challenge(realm: string, security: Security = 'none', thirdPartyServer?: string): Challenge {
  const nonces = new Nonces(new Uint8Array(16), 600, security)
  return new Challenge({
    realm,
    security,
    nonces,
    ...(thirdPartyServer !== undefined && { thirdPartyServer }),
  })
}

function request(method: number = StunMethod.allocate, hasFingerprint = false): StunMessage {
  const writer = new StunWriter(
    method,
    StunClass.request,
    Uint8Array.from({ length: 12 }, (_, i) => i),
  )
  udpTransport(writer)
  if (hasFingerprint) writer.fingerprint()
  return decoded(writer.finish())
}

function decoded(bytes: Uint8Array): StunMessage {
  const message = StunMessage.decode(bytes)
  if (typeof message === 'string') throw new TypeError(message)
  return message
}

describe('Challenge', () => {
  it('of a 28-byte Allocate has 64 bytes at most with the default realm, 72 with one of 15 characters', () => {
    const asked = request()
    expect(asked.bytes).toHaveLength(28)
    expect(challenge('sluice').write(401, asked, client, wallMs).length).toBeLessThanOrEqual(64)
    expect(challenge('turn.example.co').write(401, asked, client, wallMs).length).toBeLessThanOrEqual(72)
  })

  it.each([
    [401, StunMethod.allocate],
    [438, StunMethod.refresh],
    [401, StunMethod.connectionBind],
  ] as const)('writes %i for method %i', (code, method) => {
    const message = decoded(challenge('example.org').write(code, request(method), client, wallMs))
    expect([message.method, message.class]).toEqual([method, StunClass.error])
    expect([...message.transactionId]).toEqual(Array.from({ length: 12 }, (_, i) => i))
    expect(decodeErrorCode(message.attribute(StunAttribute.errorCode) ?? new Uint8Array(0))).toEqual({
      code,
      reason: '',
    })
    expect(message.text(StunAttribute.realm)).toBe('example.org')
    expect(message.attribute(StunAttribute.software)).toBeUndefined()
    expect(message.fingerprintOffset).toBeUndefined()
  })

  it('has a FINGERPRINT, and a right one, when the request had one; and none afterwards', () => {
    const writing = challenge('example.org')
    const marked = decoded(
      Uint8Array.from(writing.write(401, request(StunMethod.allocate, true), client, wallMs)),
    )
    expect(verifyFingerprint(marked)).toBe(true)
    expect(decoded(writing.write(401, request(), client, wallMs)).fingerprintOffset).toBeUndefined()
  })

  it('says the server for tokens where there is one', () => {
    const message = decoded(challenge('r', 'none', 'auth.example.org').write(401, request(), client, wallMs))
    expect(message.text(StunAttribute.thirdPartyAuthorization)).toBe('auth.example.org')
  })

  it('leaks nothing in padding (CVE-2020-4067)', () => {
    const bytes = challenge('abcde').write(401, request(), client, wallMs)
    // Header 20, ERROR-CODE 8, REALM header 4 and 5 bytes.
    expect([...bytes.subarray(37, 40)]).toEqual([0, 0, 0])
  })
})
