import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeHandshake, encodeHandshake, type Handshake, HandshakeType } from './handshake.ts'
import { inductionAnswer, inductionOf } from './induction.ts'
import { destinationOf, firstWord, shutdownPacket } from './packet.ts'
import { peerIpBytes } from './peer-ip.ts'
import { rejection, rejectReasonOf, RejectReason } from './rejection.ts'
import { anyHandshake, bytesOf, captured } from './srt.testkit.ts'
import { streamIdOf, withStreamId } from './stream-id-block.ts'

function decoded(hex: string): Handshake {
  const handshake = decodeHandshake(bytesOf(hex))
  if (typeof handshake === 'string') throw new Error(handshake)
  return handshake
}

/** With bytes as text, whatever holds them. */
function plain(handshake: Handshake): unknown {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  const extensions = handshake.extensions.map(({ type, content }) => [type, hex(content)])
  return { ...handshake, peerIp: hex(handshake.peerIp), extensions }
}

describe('a handshake', () => {
  test('of libsrt is read', () => {
    expect(decoded(captured.induction)).toMatchObject({
      version: 4,
      extensionField: 2,
      initialSequence: 0x2d323678,
      mtuBytes: 1500,
      flowWindow: 8192,
      type: HandshakeType.induction,
      socketId: 0x1692cfba,
      cookie: 0,
      extensions: [],
    })
    const conclusion = decoded(captured.conclusion)
    expect(conclusion).toMatchObject({ version: 5, type: HandshakeType.conclusion, cookie: 0x12345678 })
    expect(conclusion.extensions.map(({ type }) => type)).toEqual([1, 5])
    expect(decoded(captured.encrypted).extensions.map(({ type }) => type)).toEqual([1, 5, 3])
  })

  test.each(Object.entries(captured))('of libsrt encodes to what it was: %s', (_name, hex) => {
    expect(encodeHandshake(decoded(hex)).toString('hex')).toBe(hex)
  })

  test('comes back from its bytes', () => {
    fc.assert(
      fc.property(anyHandshake, (handshake) => {
        const again = decodeHandshake(encodeHandshake(handshake))
        expect(plain(again as Handshake)).toEqual(plain(handshake))
        expect(encodeHandshake(again as Handshake)).toEqual(encodeHandshake(handshake))
      }),
    )
  })

  test('is never more than its bytes, whatever they are', () => {
    const packet = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      // Behind a header that is right.
      fc.uint8Array({ maxLength: 120 }).map((tail) => Buffer.concat([bytesOf('80000000'), tail])),
      fc.uint8Array({ maxLength: 40 }).map((tail) => Buffer.concat([bytesOf(captured.induction), tail])),
    )
    fc.assert(
      fc.property(packet, (bytes) => {
        const handshake = decodeHandshake(bytes)
        if (typeof handshake === 'string') return
        const length = handshake.extensions.reduce((sum, { content }) => sum + 4 + content.length, 64)
        expect(length).toBe(bytes.length)
        streamIdOf(handshake)
      }),
      { numRuns: 1000 },
    )
  })

  // The datagram that stopped the SRS proxy: two or three bytes where an extension begins.
  test.each(['00', '0005', '000500', '00050001', '0005000100000', '0005ffff'])(
    'with an extension of %s has a fault',
    (tail) => {
      const packet = Buffer.concat([
        bytesOf(captured.induction),
        bytesOf(tail.padEnd(2 * Math.ceil(tail.length / 2), '0')),
      ])
      expect(decodeHandshake(packet)).toBe('bad-extension')
    },
  )

  test('cut anywhere has a fault', () => {
    const whole = bytesOf(captured.conclusion)
    const whereExtensionsEnd = new Set([64, 80])
    for (let length = 0; length < whole.length; length++) {
      const result = decodeHandshake(whole.subarray(0, length))
      if (!whereExtensionsEnd.has(length)) expect(result).toBeTypeOf('string')
    }
  })

  test('with more extensions than there are types has a fault', () => {
    const block = bytesOf('00090000')
    const packet = Buffer.concat([bytesOf(captured.induction), ...Array.from({ length: 17 }, () => block)])
    expect(decodeHandshake(packet)).toBe('too-many-extensions')
  })
})

describe('answers', () => {
  test('to an induction carry the cookie and are as long as it', () => {
    const answer = inductionAnswer(decoded(captured.induction), {
      cookie: 0x01020304,
      address: '192.0.2.9',
      timestampUs: 77,
    })
    expect(answer).toMatchObject({
      version: 5,
      encryption: 0,
      extensionField: 0x4a17,
      initialSequence: 0x2d323678,
      destination: 0x1692cfba,
      socketId: 0x1692cfba,
      cookie: 0x01020304,
    })
    expect(Buffer.from(answer.peerIp).toString('hex')).toBe('090200c0'.padEnd(32, '0'))
    expect(encodeHandshake(answer)).toHaveLength(64)
  })

  test('that refuse have the reason in the type and nothing else of the caller', () => {
    const refused = rejection(decoded(captured.encrypted), RejectReason.unauthorized)
    expect(refused).toMatchObject({ type: 2401, destination: 0x3c2135bd, extensions: [] })
    expect(rejectReasonOf(refused)).toBe(1401)
    expect(rejectReasonOf(decoded(captured.conclusion))).toBeUndefined()
    expect(rejectReasonOf(decoded(captured.induction))).toBeUndefined()
  })

  test("an induction in a caller's name is as the caller would write it", () => {
    const induction = inductionOf(decoded(captured.conclusion))
    const own = decoded(captured.induction)
    expect({ ...induction, timestampUs: 0 }).toEqual({ ...own, timestampUs: 0 })
  })
})

describe('addresses', () => {
  test.each([
    ['127.0.0.1', '0100007f000000000000000000000000'],
    ['2001:db8::1', 'b80d0120000000000000000001000000'],
    ['no address', '0'.repeat(32)],
  ])('%s is %s', (address, hex) => {
    expect(Buffer.from(peerIpBytes(address)).toString('hex')).toBe(hex)
  })
})

test('a shutdown is as libsrt sends it', () => {
  const packet = shutdownPacket(0x11223344, 5_000_000_000)
  expect(packet.toString('hex')).toBe('80050000000000002a05f2001122334400000000')
  expect([firstWord(packet), destinationOf(packet)]).toEqual([0x8005_0000, 0x1122_3344])
  expect(firstWord(packet.subarray(0, 15))).toBeUndefined()
})

describe('the stream id of a conclusion', () => {
  test('is read with its words the right way round', () => {
    expect(streamIdOf(decoded(captured.conclusion))).toEqual({ text: '#!::r=live/livestream,m=publish' })
    expect(streamIdOf(decoded(captured.encrypted))).toEqual({ text: 'live/s' })
    expect(streamIdOf(decoded(captured.induction))).toEqual({ text: '' })
  })

  test('is replaced in its place, everything else stays', () => {
    const before = decoded(captured.encrypted)
    const after = withStreamId(before, 'publish:live/ä')
    expect(streamIdOf(after)).toEqual({ text: 'publish:live/ä' })
    expect(after.extensions.map(({ type }) => type)).toEqual([1, 5, 3])
    expect(withStreamId(after, 'live/s')).toEqual(before)
    expect(withStreamId(before, '').extensions.map(({ type }) => type)).toEqual([1, 3])
  })

  test('is put where there was none, and said to be there', () => {
    const bare = withStreamId(decoded(captured.conclusion), '')
    const after = withStreamId({ ...bare, extensionField: 1 }, 'live/s')
    expect(after.extensionField).toBe(5)
    expect(streamIdOf(after)).toEqual({ text: 'live/s' })
  })

  test('survives any text', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(text, (id) => {
        fc.pre(!/\p{Cc}/u.test(id) && Buffer.from(id).toString() === id && !id.endsWith('\0'))
        const after = withStreamId(decoded(captured.conclusion), id)
        expect(streamIdOf(decodeHandshake(encodeHandshake(after)) as Handshake)).toEqual({ text: id })
      }),
    )
  })

  test('that two readers could take differently is a fault', () => {
    const { extensions, extensionField } = decoded(captured.conclusion)
    const block = (text: string) => ({ type: 5, content: Buffer.from(text.padEnd(8, '\0')).swap32() })
    const twice = { extensionField, extensions: [...extensions, block('live/x')] }
    expect(streamIdOf(twice)).toBe('twice')
    expect(streamIdOf({ extensionField: 1, extensions })).toBe('unflagged')
    expect(streamIdOf({ extensionField, extensions: [block('li\0e/x')] })).toBe('not-text')
    const notUtf8 = { type: 5, content: Buffer.from('fffefdfc', 'hex') }
    expect(streamIdOf({ extensionField, extensions: [notUtf8] })).toBe('not-text')
    const long = { type: 5, content: Buffer.alloc(516, 'a') }
    expect(streamIdOf({ extensionField, extensions: [long] })).toBe('too-long')
  })
})
