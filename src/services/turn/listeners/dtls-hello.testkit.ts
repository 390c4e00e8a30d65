import { HandshakeType, writeHandshakeMessage } from './dtls-handshake-message.ts'
import { ContentType, writeRecord } from './dtls-record.ts'

export interface TestHello {
  /** @defaultValue 1.2 */
  readonly version?: number
  /** @defaultValue all 7 */
  readonly random?: Uint8Array
  readonly sessionId?: Uint8Array
  readonly cookie?: Uint8Array
  readonly suites?: readonly number[]
  /** Type and value. */
  readonly extensions?: readonly (readonly [number, Uint8Array])[]
}

/** The body of a ClientHello. */
export function helloBody({
  version = 0xfefd,
  random = new Uint8Array(32).fill(7),
  sessionId = new Uint8Array(0),
  cookie = new Uint8Array(0),
  suites = [0xc02b, 0xc02f],
  extensions = usualExtensions,
}: TestHello = {}): Buffer {
  const encoded = extensions.map(([type, value]) => Buffer.concat([u16(type), u16(value.length), value]))
  return Buffer.concat([
    u16(version),
    random,
    Uint8Array.of(sessionId.length),
    sessionId,
    Uint8Array.of(cookie.length),
    cookie,
    u16(2 * suites.length),
    ...suites.map(u16),
    Uint8Array.of(1, 0),
    u16(Buffer.concat(encoded).length),
    ...encoded,
  ])
}

/** A datagram with a ClientHello. */
export function helloDatagram(hello: TestHello = {}): Buffer {
  const sequence = hello.cookie === undefined ? 0 : 1
  const body = writeHandshakeMessage(HandshakeType.clientHello, sequence, helloBody(hello))
  return writeRecord({ type: ContentType.handshake, epoch: 0, sequence, body })
}

function u16(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff])
}

/** Groups (P-256), signatures (ECDSA and RSA with SHA-256), extended master secret, renegotiation info. */
const usualExtensions: readonly (readonly [number, Uint8Array])[] = [
  [10, Uint8Array.of(0, 2, 0, 23)],
  [13, Uint8Array.of(0, 4, 4, 3, 4, 1)],
  [23, new Uint8Array(0)],
  [0xff01, Uint8Array.of(0)],
]
