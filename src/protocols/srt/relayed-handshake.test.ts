import { describe, expect, test } from 'vitest'
import { decodeHandshake, encodeHandshake, type Handshake, HandshakeType } from './handshake.ts'
import { inductionAnswer } from './induction.ts'
import { rejection, RejectReason } from './rejection.ts'
import { RelayedHandshake } from './relayed-handshake.ts'
import { bytesOf, captured } from './srt.testkit.ts'

const conclusion = decodeHandshake(bytesOf(captured.encrypted)) as Handshake

function sent(handshake: RelayedHandshake): Handshake {
  return decodeHandshake(handshake.packet) as Handshake
}

/** What a listener answers. */
function answered(to: Handshake, more: Partial<Handshake> = {}): Buffer {
  if (to.type === HandshakeType.induction) {
    const options = { cookie: 0xabcdef01, address: '127.0.0.1', timestampUs: 1 }
    return encodeHandshake({ ...inductionAnswer(to, options), ...more })
  }
  return encodeHandshake({ ...to, destination: to.socketId, socketId: 0x5555, ...more })
}

describe('a handshake that is taken to a listener', () => {
  test("begins with an induction, and concludes with all that the caller said and the listener's cookie", () => {
    const handshake = new RelayedHandshake(conclusion)
    expect(sent(handshake)).toMatchObject({ type: HandshakeType.induction, cookie: 0, version: 4 })
    expect(handshake.receive(answered(sent(handshake)))).toEqual({ kind: 'next' })
    expect(sent(handshake)).toEqual({ ...conclusion, cookie: 0xabcdef01 })
    const step = handshake.receive(answered(sent(handshake)))
    expect(step).toMatchObject({ kind: 'accepted', answer: { socketId: 0x5555 } })
  })

  test('passes over what is not for it, comes twice or too early', () => {
    const handshake = new RelayedHandshake(conclusion)
    const ignored = { kind: 'ignored' }
    expect(handshake.receive(answered(conclusion))).toEqual(ignored)
    expect(handshake.receive(answered(sent(handshake), { destination: 1 }))).toEqual(ignored)
    expect(handshake.receive(Buffer.alloc(3))).toEqual(ignored)
    const first = answered(sent(handshake))
    handshake.receive(first)
    expect(handshake.receive(first)).toEqual(ignored)
  })

  test('tells why the listener refuses, at any time', () => {
    const handshake = new RelayedHandshake(conclusion)
    const refused = encodeHandshake(rejection(conclusion, RejectReason.badSecret))
    expect(handshake.receive(refused)).toEqual({ kind: 'rejected', reason: 10 })
    handshake.receive(answered(sent(handshake)))
    expect(handshake.receive(refused)).toEqual({ kind: 'rejected', reason: 10 })
  })

  test('does not go on with a listener that is too old, or gives no socket', () => {
    const handshake = new RelayedHandshake(conclusion)
    const old = answered(sent(handshake), { version: 4, extensionField: 2 })
    expect(handshake.receive(old)).toMatchObject({ kind: 'broken' })
    handshake.receive(answered(sent(handshake)))
    expect(handshake.receive(answered(sent(handshake), { socketId: 0 }))).toMatchObject({ kind: 'broken' })
  })
})
