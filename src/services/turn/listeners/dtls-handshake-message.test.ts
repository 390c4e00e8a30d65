import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readHandshakeMessages, writeHandshakeMessage } from './dtls-handshake-message.ts'

describe('messages of a handshake', () => {
  test('are read as they were written', () => {
    const messages = fc.array(
      fc.record({
        type: fc.integer({ min: 0, max: 255 }),
        sequence: fc.integer({ min: 0, max: 0xffff }),
        body: fc.uint8Array({ maxLength: 100 }),
      }),
    )
    fc.assert(
      fc.property(messages, (written) => {
        const record = written.map(({ type, sequence, body }) => writeHandshakeMessage(type, sequence, body))
        const read = readHandshakeMessages(Buffer.concat(record))
        expect(
          read?.map(({ type, sequence, body }) => ({ type, sequence, body: Uint8Array.from(body) })),
        ).toEqual(written)
      }),
    )
  })

  test('are not taken when one is cut', () => {
    const message = writeHandshakeMessage(1, 0, new Uint8Array(20))
    for (let length = 1; length < message.length; length++) {
      expect(readHandshakeMessages(message.subarray(0, length))).toBeUndefined()
    }
  })

  test('are not taken as fragments, of which something would have to be kept', () => {
    const claimed = writeHandshakeMessage(11, 1, new Uint8Array(20))
    claimed.writeUIntBE(0xff_ffff, 1, 3)
    expect(readHandshakeMessages(claimed)).toBeUndefined()
    const rest = writeHandshakeMessage(11, 1, new Uint8Array(20))
    rest.writeUIntBE(20, 6, 3)
    expect(readHandshakeMessages(rest)).toBeUndefined()
  })

  test('may be any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        readHandshakeMessages(bytes)
      }),
    )
  })
})
