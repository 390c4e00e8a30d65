import { RtmpError, RtmpErrorCode } from './errors.ts'

/** Bytes that nobody can guess; `size` of them. */
export type RandomBytes = (size: number) => Uint8Array

/** Bytes to send now, perhaps none; and once the handshake is over, what came after it. */
export interface HandshakeStep {
  readonly send: Buffer
  readonly rest: Buffer | undefined
}

/**
 * The answering side of the simple handshake, version 3 (RTMP specification 5.2). A client that opens with
 * a digest handshake gets the simple answer; ffmpeg, OBS and librtmp take it.
 */
export class ServerHandshake {
  readonly #exchange: Exchange

  constructor(random: RandomBytes) {
    // S2 is C1 as it came, its time fields too: clients that check compare all of it.
    this.#exchange = new Exchange('client', (peerHello) => Buffer.concat([hello(random), peerHello]))
  }

  /** Takes bytes cut anywhere. @throws RTMP_HANDSHAKE when the first byte asks for another version */
  receive(bytes: Uint8Array): HandshakeStep {
    return this.#exchange.receive(bytes)
  }
}

/** The asking side of the simple handshake, version 3. */
export class ClientHandshake {
  /** What is sent first: C0 and C1. */
  readonly hello: Buffer
  // S2 is not compared with C1: servers that speak the digest handshake send something else.
  readonly #exchange = new Exchange('origin', (peerHello) => peerHello)

  constructor(random: RandomBytes) {
    this.hello = hello(random)
  }

  /** Takes bytes cut anywhere. @throws RTMP_HANDSHAKE when the first byte names another version */
  receive(bytes: Uint8Array): HandshakeStep {
    return this.#exchange.receive(bytes)
  }
}

/** What speaks where RTMP should, by its first byte. */
function guess(first: number): string {
  if (first === 6 || first === 8) return '; encrypted RTMP (RTMPE) is not spoken here'
  if (first === 0x16) return '; this is TLS, which has a port of its own'
  return first >= 0x41 && first <= 0x5a
    ? '; this looks like HTTP, and RTMP over HTTP (RTMPT) is not spoken here'
    : ''
}

const version = 3
const packetBytes = 1536

/** Version, time 0, zero, random bytes. */
function hello(random: RandomBytes): Buffer {
  return Buffer.concat([Uint8Array.of(version), Buffer.alloc(8), random(packetBytes - 8)])
}

/** What both sides do: wait for version and first packet, answer them, wait for the echo. */
class Exchange {
  readonly #side: 'client' | 'origin'
  readonly #answer: (peerHello: Buffer) => Buffer
  #bytes: Buffer = Buffer.alloc(0)
  #hasAnswered = false

  constructor(side: 'client' | 'origin', answer: (peerHello: Buffer) => Buffer) {
    this.#side = side
    this.#answer = answer
  }

  receive(bytes: Uint8Array): HandshakeStep {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    let send: Buffer = Buffer.alloc(0)
    if (!this.#hasAnswered) {
      this.#checkVersion()
      const first = this.#take(1 + packetBytes)
      if (first === undefined) return { send, rest: undefined }
      this.#hasAnswered = true
      send = this.#answer(first.subarray(1))
    }
    return { send, rest: this.#take(packetBytes) === undefined ? undefined : this.#bytes }
  }

  /** At once, so that a stranger to the protocol does not wait for a timeout. */
  #checkVersion(): void {
    const first = this.#bytes[0]
    if (first === undefined || first === version) return
    throw new RtmpError(
      RtmpErrorCode.handshake,
      `handshake version ${first}, must be ${version}${guess(first)}`,
      {
        side: this.#side,
      },
    )
  }

  #take(length: number): Buffer | undefined {
    if (this.#bytes.length < length) return undefined
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }
}
