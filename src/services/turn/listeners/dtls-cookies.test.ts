import { describe, expect, test } from 'vitest'
import { type ClientHello, readClientHello } from './dtls-client-hello.ts'
import { DtlsCookies } from './dtls-cookies.ts'
import { helloBody, type TestHello } from './dtls-hello.testkit.ts'
import { ContentType } from './dtls-record.ts'

const cookies = new DtlsCookies(new Uint8Array(16).fill(1))
const source = { address: '192.0.2.1', port: 4000 }
const nowMs = 1_800_000_000_000

describe('the cookie of a HelloVerifyRequest', () => {
  test('is good for the same hello from the same place', () => {
    expect(cookies.isGood(hello({ cookie: given() }), source, nowMs + 59_000)).toBe(true)
  })

  test('comes in 40 bytes under the version and the sequence that RFC 6347 wants', () => {
    const request = cookies.writeRequest(recordOf(5), hello({}), source, nowMs)
    expect(request.subarray(0, 28).toString('hex')).toBe(
      // Record: handshake, 1.0, epoch 0, sequence 5; message: hello verify request, number 0, whole; 1.0, 12 bytes.
      '16feff0000000000000005001b0300000f000000000000000ffeff0c',
    )
    expect(request).toHaveLength(40)
  })

  test('is worth nothing from another address or port', () => {
    const again = hello({ cookie: given() })
    expect(cookies.isGood(again, { ...source, port: 4001 }, nowMs)).toBe(false)
    expect(cookies.isGood(again, { ...source, address: '192.0.2.2' }, nowMs)).toBe(false)
  })

  test('is worth nothing for another hello', () => {
    const random = new Uint8Array(32).fill(8)
    expect(cookies.isGood(hello({ cookie: given(), random }), source, nowMs)).toBe(false)
  })

  test('is worth nothing after a minute, or before its time', () => {
    const again = hello({ cookie: given() })
    expect(cookies.isGood(again, source, nowMs + 61_000)).toBe(false)
    expect(cookies.isGood(again, source, nowMs - 1000)).toBe(false)
  })

  test('is worth nothing with a bit changed, or another key', () => {
    const cookie = given()
    for (let bit = 0; bit < 8 * cookie.length; bit++) {
      const changed = Uint8Array.from(cookie)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(cookies.isGood(hello({ cookie: changed }), source, nowMs)).toBe(false)
    }
    const others = new DtlsCookies(new Uint8Array(16).fill(2))
    expect(others.isGood(hello({ cookie }), source, nowMs)).toBe(false)
    expect(cookies.isGood(hello({ cookie: cookie.subarray(1) }), source, nowMs)).toBe(false)
  })
})

function given(): Uint8Array {
  return cookies.writeRequest(recordOf(0), hello({}), source, nowMs).subarray(28)
}

function hello(of: TestHello): ClientHello {
  const read = readClientHello(helloBody(of))
  if (read === undefined) throw new Error('malformed')
  return read
}

function recordOf(sequence: number) {
  return { type: ContentType.handshake, epoch: 0, sequence, body: new Uint8Array(0) }
}
