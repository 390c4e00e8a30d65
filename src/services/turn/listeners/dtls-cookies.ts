import { SipHash } from '../core/siphash.ts'
import type { ClientHello } from './dtls-client-hello.ts'
import { HandshakeType, writeHandshakeMessage } from './dtls-handshake-message.ts'
import { ContentType, type DtlsRecord, DtlsVersion, writeRecord } from './dtls-record.ts'

/** Where a ClientHello came from. */
interface HelloSource {
  readonly address: string
  readonly port: number
}

/**
 * Cookies of HelloVerifyRequest without memory (RFC 6347 §4.2.1): seconds of the epoch and a keyed hash of them, the client's
 * address and port and the random of its hello. Who brings one back is where it says, and has no handshake before.
 */
export class DtlsCookies {
  readonly #hash: SipHash
  readonly #input = Buffer.alloc(128)

  /** @param key 16 bytes */
  constructor(key: Uint8Array) {
    this.#hash = new SipHash(key)
  }

  /** The answer to a hello without a good cookie: 40 bytes, fewer than any hello has. */
  writeRequest(record: DtlsRecord, hello: ClientHello, source: HelloSource, wallMs: number): Buffer {
    const body = Buffer.allocUnsafe(3 + cookieBytes)
    body.writeUInt16BE(DtlsVersion.v10, 0)
    body[2] = cookieBytes
    this.#write(body, 3, hello, source, Math.floor(wallMs / 1000))
    return writeRecord(
      {
        type: ContentType.handshake,
        epoch: 0,
        // Without memory there is no other sequence than the client's.
        sequence: record.sequence,
        body: writeHandshakeMessage(HandshakeType.helloVerifyRequest, 0, body),
      },
      DtlsVersion.v10,
    )
  }

  /** Whether the cookie of a hello is ours, was given for this hello to this client, and is not too old. */
  isGood(hello: ClientHello, source: HelloSource, wallMs: number): boolean {
    const { cookie } = hello
    if (cookie.length !== cookieBytes) return false
    const seconds = Buffer.from(cookie.buffer, cookie.byteOffset, 4).readUInt32BE(0)
    const age = Math.floor(wallMs / 1000) - seconds
    if (age < 0 || age > lifetimeSeconds) return false
    this.#write(expected, 0, hello, source, seconds)
    let difference = 0
    for (let i = 0; i < cookieBytes; i++) difference |= (cookie[i] as number) ^ (expected[i] as number)
    return difference === 0
  }

  #write(into: Buffer, at: number, { random }: ClientHello, source: HelloSource, seconds: number): void {
    const input = this.#input
    input.writeUInt32BE(seconds, 0)
    input.writeUInt16BE(source.port, 4)
    input.set(random, 6)
    const length = 6 + random.length + input.write(source.address, 6 + random.length, 'latin1')
    this.#hash.hash(input, length)
    into.writeUInt32BE(seconds, at)
    into.writeUInt32BE(this.#hash.high, at + 4)
    into.writeUInt32BE(this.#hash.low, at + 8)
  }
}

/** Time and hash. */
const cookieBytes = 12
/** Clients repeat a hello for about a minute at most. */
const lifetimeSeconds = 60
const expected = Buffer.alloc(cookieBytes)
