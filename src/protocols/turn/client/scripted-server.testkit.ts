import {
  longTermKey,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
  type TransportAddress,
} from '../../stun/index.ts'
import { TurnClient } from './turn-client.ts'
import type { TurnClientOptions } from './turn-client-options.ts'
import type { TurnClientOutput } from './turn-client-output.ts'

export const username = 'user'
export const password = 'secret'
export const realm = 'example.org'
export const relayed: TransportAddress = { address: '203.0.113.5', port: 50_000 }
export const mapped: TransportAddress = { address: '198.51.100.7', port: 4000 }

/** Answers as a test says, under a time that the test moves. */
export class Conversation {
  readonly client: TurnClient
  nowMs = 1000
  nonce: string
  key: Uint8Array = longTermKey(username, realm, password)
  hash: 'sha1' | 'sha256' = 'sha1'
  #sent: Uint8Array[] = []
  #told: TurnClientOutput[] = []

  constructor(options: Partial<TurnClientOptions> = {}, nonce = 'nonce-1') {
    let next = 0
    this.nonce = nonce
    this.client = new TurnClient({
      username,
      password,
      isStream: false,
      // Every transaction id differs, and each run has the same ones.
      random: (bytes) => {
        const id = Buffer.alloc(bytes)
        id.writeUInt32BE(++next, 0)
        return id
      },
      ...options,
    })
  }

  /** What the client has sent since it was asked last. */
  sent(): Uint8Array[] {
    this.#drain()
    const sent = this.#sent
    this.#sent = []
    return sent
  }

  /** The only message sent since. */
  request(): StunMessage {
    const sent = this.sent()
    if (sent.length !== 1) throw new Error(`${sent.length} messages were sent`)
    return decoded(sent[0] as Uint8Array)
  }

  /** What the client has told since it was asked last. */
  told(): TurnClientOutput[] {
    this.#drain()
    const told = this.#told
    this.#told = []
    return told
  }

  deliver(bytes: Uint8Array): void {
    this.client.receive(bytes, this.nowMs)
  }

  /** Moves the time to the client's next deadline, at most this much, and lets it act. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs
    for (;;) {
      const deadlineMs = this.client.nextDeadlineMs()
      if (deadlineMs === undefined || deadlineMs > untilMs) break
      this.nowMs = deadlineMs
      this.client.tick(this.nowMs)
    }
    this.nowMs = untilMs
  }

  /** An unsigned 401 or 438. */
  challenge(request: StunMessage, code: number, add: (writer: StunWriter) => void = () => undefined): Buffer {
    const writer = new StunWriter(request.method, StunClass.error, request.transactionId)
      .attribute(StunAttribute.errorCode, Uint8Array.of(0, 0, Math.floor(code / 100), code % 100))
      .text(StunAttribute.realm, realm)
      .text(StunAttribute.nonce, this.nonce)
    add(writer)
    return writer.finish()
  }

  success(request: StunMessage, add: (writer: StunWriter) => void = () => undefined): Buffer {
    return this.#signed(new StunWriter(request.method, StunClass.success, request.transactionId), add)
  }

  error(request: StunMessage, code: number, add: (writer: StunWriter) => void = () => undefined): Buffer {
    const writer = new StunWriter(request.method, StunClass.error, request.transactionId)
    writer.attribute(StunAttribute.errorCode, Uint8Array.of(0, 0, Math.floor(code / 100), code % 100))
    return this.#signed(writer, add)
  }

  allocated(request: StunMessage, lifetimeSeconds = 600): Buffer {
    return this.success(request, (writer) =>
      writer
        .xorAddress(StunAttribute.xorRelayedAddress, relayed)
        .xorAddress(StunAttribute.xorMappedAddress, mapped)
        .u32(StunAttribute.lifetime, lifetimeSeconds),
    )
  }

  /** Leads the client to its allocation. */
  establish(): this {
    this.client.allocate(this.nowMs)
    this.deliver(this.challenge(this.request(), 401))
    this.deliver(this.allocated(this.request()))
    const [event] = this.told()
    if (event?.kind !== 'allocated') throw new Error(`not allocated: ${JSON.stringify(event)}`)
    return this
  }

  #signed(writer: StunWriter, add: (writer: StunWriter) => void): Buffer {
    add(writer)
    return (this.hash === 'sha1' ? writer.integrity(this.key) : writer.integritySha256(this.key)).finish()
  }

  #drain(): void {
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'send') this.#sent.push(Uint8Array.from(out.bytes))
      else if (out.kind === 'data') this.#told.push({ ...out, bytes: Uint8Array.from(out.bytes) })
      else this.#told.push(out)
    }
  }
}

export function decoded(bytes: Uint8Array): StunMessage {
  const message = StunMessage.decode(bytes)
  if (typeof message === 'string') throw new Error(`no STUN message: ${message}`)
  return message
}

/** A Data indication. */
export function dataIndication(peer: TransportAddress, data: Uint8Array): Buffer {
  return new StunWriter(StunMethod.data, StunClass.indication, new Uint8Array(12))
    .xorAddress(StunAttribute.xorPeerAddress, peer)
    .attribute(StunAttribute.data, data)
    .finish()
}
