import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readClientHello } from './dtls-client-hello.ts'
import { helloBody } from './dtls-hello.testkit.ts'

describe('a ClientHello', () => {
  test('tells version, random, cookie and whether it offers an extended master secret', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 32 }),
        fc.uint8Array({ maxLength: 255 }),
        fc.boolean(),
        (random, sessionId, cookie, isExtended) => {
          const extensions = isExtended ? ([[23, new Uint8Array(0)]] as const) : []
          const hello = readClientHello(helloBody({ random, sessionId, cookie, extensions }))
          expect(hello?.version).toBe(0xfefd)
          expect(Buffer.compare(hello?.random ?? random.subarray(1), random)).toBe(0)
          expect(Buffer.compare(hello?.cookie ?? random, cookie)).toBe(0)
          expect(hello?.cookieAt).toBe(2 + 32 + 1 + sessionId.length)
          expect(hello?.hasExtendedMasterSecret).toBe(isExtended)
        },
      ),
    )
  })

  test('needs no extensions', () => {
    const body = helloBody({ extensions: [] })
    expect(readClientHello(body.subarray(0, -2))).toMatchObject({ hasExtendedMasterSecret: false })
  })

  test('is malformed when it is cut anywhere, save before the extensions', () => {
    const body = helloBody({ extensions: [[23, new Uint8Array(3)]] })
    const beforeExtensions = body.length - 2 - 7
    for (let length = 0; length < body.length; length++) {
      if (length !== beforeExtensions) expect(readClientHello(body.subarray(0, length))).toBeUndefined()
    }
  })

  test('is malformed with the version of TLS', () => {
    expect(readClientHello(helloBody({ version: 0x0303 }))).toBeUndefined()
  })

  test('is malformed with something behind', () => {
    expect(readClientHello(Buffer.concat([helloBody(), Buffer.alloc(1)]))).toBeUndefined()
  })

  test('may be any bytes', () => {
    const damaged = fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
      const body = helloBody({ cookie: new Uint8Array(12) })
      body[at % body.length] = byte
      return body
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), damaged), (bytes) => {
        readClientHello(bytes)
      }),
    )
  })
})
