import { describe, expect, test } from 'vitest'
import { StunAttribute } from './attribute-type.ts'
import { StunMessage } from './message.ts'
import { longTermKey } from './message-integrity.ts'
import { StunClass, StunMethod } from './message-type.ts'
import { StunWriter } from './message-writer.ts'
import { longTerm, sampleLongTermRequest, sampleSha256Request } from './rfc-vectors.testkit.ts'

const transactionId = Buffer.from('78ad3433c6ad72c029da412e', 'hex')
const { username, realm, password } = longTerm

describe('StunWriter', () => {
  test('writes RFC 5769 §2.4 byte for byte', () => {
    const bytes = new StunWriter(StunMethod.binding, StunClass.request, transactionId)
      .text(StunAttribute.username, username)
      .text(StunAttribute.nonce, 'f//499k954d6OL34oL9FSTvy64sA')
      .text(StunAttribute.realm, realm)
      .integrity(longTermKey(username, realm, password))
      .finish()
    expect(bytes).toEqual(sampleLongTermRequest)
  })

  test('writes RFC 8489 Appendix B.1 byte for byte', () => {
    const userhash = StunMessage.decode(sampleSha256Request)
    if (typeof userhash === 'string') throw new Error(userhash)
    const bytes = new StunWriter(StunMethod.binding, StunClass.request, transactionId)
      .attribute(StunAttribute.userhash, userhash.attribute(StunAttribute.userhash) ?? new Uint8Array())
      .text(StunAttribute.nonce, 'obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA')
      .text(StunAttribute.realm, realm)
      .attribute(StunAttribute.passwordAlgorithm, Uint8Array.of(0, 2, 0, 0))
      .integritySha256(longTermKey(username, realm, password, 'sha256'))
      .finish()
    expect(bytes).toEqual(sampleSha256Request)
  })

  test('refuses a message that its length field could not count', () => {
    const writer = new StunWriter(StunMethod.data, StunClass.indication, transactionId)
    writer.attribute(StunAttribute.data, new Uint8Array(65_000))
    expect(() => writer.attribute(StunAttribute.data, new Uint8Array(600))).toThrow(RangeError)
  })

  test('refuses a transaction id of another length', () => {
    expect(() => new StunWriter(StunMethod.binding, StunClass.request, new Uint8Array(16))).toThrow(
      RangeError,
    )
  })
})
