import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ContentType, readRecords, writeRecord } from './dtls-record.ts'

const records = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  epoch: fc.integer({ min: 0, max: 0xffff }),
  sequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  body: fc.uint8Array({ maxLength: 300 }),
})

describe('records of a datagram', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(records, { maxLength: 16 }), (written) => {
        const read = readRecords(Buffer.concat(written.map((record) => writeRecord(record))))
        expect(read.map((record) => ({ ...record, body: Uint8Array.from(record.body) }))).toEqual(written)
      }),
    )
  })

  test('end with the first that is cut', () => {
    const record = { type: ContentType.handshake, epoch: 0, sequence: 7, body: Uint8Array.of(1, 2, 3) }
    const two = Buffer.concat([writeRecord(record), writeRecord(record)])
    for (let length = 0; length < two.length; length++) {
      expect(readRecords(two.subarray(0, length))).toHaveLength(length < 16 ? 0 : 1)
    }
  })

  test('end with the first that is no DTLS', () => {
    const record = writeRecord({
      type: ContentType.handshake,
      epoch: 0,
      sequence: 0,
      body: new Uint8Array(2),
    })
    const tls = Buffer.from(record)
    tls[1] = 3
    expect(readRecords(Buffer.concat([record, tls, record]))).toHaveLength(1)
  })

  test('are sixteen at most', () => {
    const empty = writeRecord({ type: ContentType.alert, epoch: 0, sequence: 0, body: new Uint8Array(0) })
    expect(readRecords(Buffer.concat(Array.from({ length: 1000 }, () => empty)))).toHaveLength(16)
  })

  test('may be any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const read = readRecords(bytes)
        expect(read.reduce((sum, { body }) => sum + 13 + body.length, 0)).toBeLessThanOrEqual(bytes.length)
      }),
    )
  })
})
