import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RecordCipher } from './dtls-record-cipher.ts'
import { ContentType, type DtlsRecord, readRecords } from './dtls-record.ts'

const up = { key: new Uint8Array(16).fill(1), salt: new Uint8Array(4).fill(2) }
const down = { key: new Uint8Array(16).fill(3), salt: new Uint8Array(4).fill(4) }

describe('a cipher of records', () => {
  test('opens what its peer has sealed', () => {
    const { client, server } = pair()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (plaintext) => {
        const record = sealed(client, plaintext)
        expect(Buffer.compare(server.open(record) ?? Buffer.from('nothing'), plaintext)).toBe(0)
      }),
    )
  })

  test('puts epoch and sequence before the ciphertext', () => {
    const record = sealed(pair().client, Buffer.from('abc'))
    expect(record).toMatchObject({ type: ContentType.applicationData, epoch: 1, sequence: 5 })
    expect(Buffer.from(record.body.subarray(0, 8)).toString('hex')).toBe('0001000000000005')
  })

  test('never seals twice with one sequence', () => {
    const { client } = pair()
    const sequences = Array.from({ length: 100 }, () => sealed(client, new Uint8Array(1)).sequence)
    expect(new Set(sequences).size).toBe(100)
  })

  test('opens a record once', () => {
    const { client, server } = pair()
    const records = Array.from({ length: 10 }, () => sealed(client, new Uint8Array(1)))
    for (const record of records) expect(server.open(record)).toBeDefined()
    for (const record of records) expect(server.open(record)).toBeUndefined()
  })

  test('opens records that overtake each other, up to 63 behind', () => {
    const { client, server } = pair()
    const records = Array.from({ length: 65 }, () => sealed(client, new Uint8Array(1)))
    expect(server.open(records[64] as DtlsRecord)).toBeDefined()
    expect(server.open(records[1] as DtlsRecord)).toBeDefined()
    expect(server.open(records[0] as DtlsRecord)).toBeUndefined()
    expect(server.open(records[1] as DtlsRecord)).toBeUndefined()
  })

  test('a forged record does not move the window', () => {
    const { client, server } = pair()
    const record = sealed(client, new Uint8Array(1))
    expect(server.open({ ...record, sequence: 2 ** 40 })).toBeUndefined()
    expect(server.open(record)).toBeDefined()
  })

  test('opens nothing of which a bit was changed', () => {
    const { client, server } = pair()
    const record = sealed(client, new Uint8Array(10))
    for (let bit = 0; bit < 8 * record.body.length; bit++) {
      const body = Uint8Array.from(record.body)
      body[bit >> 3] = (body[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(server.open({ ...record, body })).toBeUndefined()
    }
    expect(server.open({ ...record, type: ContentType.alert })).toBeUndefined()
    expect(server.open({ ...record, epoch: 0 })).toBeUndefined()
    expect(server.open({ ...record, epoch: 2 })).toBeUndefined()
    expect(server.open(record)).toBeDefined()
  })

  test('takes any bytes', () => {
    const { server } = pair()
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array({ maxLength: 60 }), (sequence, body) => {
        expect(server.open({ type: ContentType.applicationData, epoch: 1, sequence, body })).toBeUndefined()
      }),
    )
  })

  test('refuses to seal what does not fit a record', () => {
    const { client } = pair()
    expect(client.seal(ContentType.applicationData, new Uint8Array(16_384))).toBeDefined()
    expect(client.seal(ContentType.applicationData, new Uint8Array(16_385))).toBeUndefined()
  })
})

function pair(): { readonly client: RecordCipher; readonly server: RecordCipher } {
  return {
    client: new RecordCipher({ read: down, write: up, nextSequence: 5 }),
    server: new RecordCipher({ read: up, write: down, nextSequence: 5 }),
  }
}

function sealed(cipher: RecordCipher, plaintext: Uint8Array): DtlsRecord {
  const [record] = readRecords(cipher.seal(ContentType.applicationData, plaintext) ?? new Uint8Array(0))
  if (record === undefined) throw new Error('not sealed')
  return record
}
