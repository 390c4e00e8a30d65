import { expect } from 'vitest'
import {
  decodeErrorCode,
  decodeXorAddress,
  longTermKey,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
  type TransportAddress,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from '../../../protocols/stun/index.ts'
import {
  decodeChannelData,
  encodeAddressFamily,
  encodeChannelData,
  encodeChannelNumber,
  encodeRequestedTransport,
  isChannelData,
} from '../../../protocols/turn/index.ts'
import type { ClientTransport } from '../client-transport.ts'
import type { Client } from './client.ts'
import type { FakeDatapath } from './fake-datapath.testkit.ts'
import type { ListenerState } from './listener-state.ts'
import type { TurnCore } from './turn-core.ts'

/** What is put into a request before it is signed. */
export type Build = (writer: StunWriter) => void

/** How a request is made. */
export interface RequestOptions {
  readonly user?: string
  readonly password?: string
  readonly transactionId?: Uint8Array
  readonly hasFingerprint?: boolean
}

/** An answer, read. */
export interface Answer {
  /** Undefined of a success. */
  readonly code: number | undefined
  readonly message: StunMessage
  /** Signed with the client's key: with SHA-1, SHA-256 or not. */
  readonly signed: 'sha1' | 'sha256' | undefined
}

/** Where a client is, and who. */
export interface TestClientOptions extends TransportAddress {
  readonly user: string
}

/** Where the listener of a `TurnKit` is. */
export const serverAddress = '198.51.100.1'

/** Users and their passwords. */
export const passwords: Readonly<Record<string, string>> = { alice: 'wonderland', bob: 'builder' }

let transactions = 0

/** A transaction id that was not used before. */
export function transaction(): Uint8Array {
  const id = Buffer.alloc(12)
  id.writeUInt32BE(++transactions, 8)
  return id
}

/** A client that talks with a `TurnKit`, message by message. */
export abstract class TestClient implements TransportAddress {
  readonly address: string
  readonly port: number
  user: string
  /** All messages that came, oldest first. */
  readonly inbox: Buffer[] = []
  realm = ''
  nonce: Uint8Array = new Uint8Array(0)

  constructor({ address, port, user }: TestClientOptions) {
    this.address = address
    this.port = port
    this.user = user
  }

  /** Sends bytes as they are. */
  abstract put(bytes: Uint8Array): void

  /** Allocates, UDP unless it says otherwise. */
  async allocate(build: Build = udpTransport, options: RequestOptions = {}): Promise<TransportAddress> {
    const answer = await this.request(StunMethod.allocate, build, options)
    expect(answer.code).toBeUndefined()
    const relayed = addressOf(answer, StunAttribute.xorRelayedAddress)
    if (relayed === undefined) throw new TypeError('no relayed address')
    return relayed
  }

  /** A request that is signed, with a nonce that is asked for where there is none, or that comes with a 438. */
  async request(method: number, build: Build = noAttributes, options: RequestOptions = {}): Promise<Answer> {
    if (this.nonce.length === 0) await this.challenge()
    let answer = await this.ask(this.signed(method, build, options))
    if (answer?.code === 438) {
      this.nonce = Uint8Array.from(answer.message.attribute(StunAttribute.nonce) ?? [])
      answer = await this.ask(this.signed(method, build, options))
    }
    if (answer === undefined) throw new TypeError('no answer')
    return answer
  }

  /** Gets realm and nonce. */
  async challenge(): Promise<Answer> {
    const answer = await this.ask(
      new StunWriter(StunMethod.allocate, StunClass.request, transaction()).finish(),
    )
    if (answer === undefined) throw new TypeError('no challenge')
    this.realm = answer.message.text(StunAttribute.realm) ?? ''
    this.nonce = Uint8Array.from(answer.message.attribute(StunAttribute.nonce) ?? [])
    return answer
  }

  /** The bytes of a request with what long-term credentials add. */
  signed(method: number, build: Build = noAttributes, options: RequestOptions = {}): Buffer {
    const { user = this.user, password = passwords[user] ?? '' } = options
    const writer = new StunWriter(method, StunClass.request, options.transactionId ?? transaction())
    build(writer)
    writer
      .text(StunAttribute.username, user)
      .text(StunAttribute.realm, this.realm)
      .attribute(StunAttribute.nonce, this.nonce)
      .integrity(longTermKey(user, this.realm, password))
    if (options.hasFingerprint === true) writer.fingerprint()
    return writer.finish()
  }

  /** Sends a request and gives its answer, or undefined where none comes at once. */
  async ask(bytes: Uint8Array): Promise<Answer | undefined> {
    const from = this.inbox.length
    this.put(bytes)
    const found = await this.answerTo(Buffer.from(bytes.subarray(8, 20)), from)
    return found === undefined ? undefined : this.read(found)
  }

  /** The message with this transaction id that came, or comes, at this place of the inbox or later. */
  protected async answerTo(transactionId: Buffer, from: number): Promise<Buffer | undefined> {
    await settle()
    return this.inbox.slice(from).find((one) => transactionId.equals(one.subarray(8, 20)))
  }

  /** A STUN message that came, as an answer. */
  read(bytes: Buffer): Answer {
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string') throw new TypeError(message)
    const key = longTermKey(this.user, this.realm, passwords[this.user] ?? '')
    const error = decodeErrorCode(message.attribute(StunAttribute.errorCode) ?? new Uint8Array(0))
    return {
      code: message.class === StunClass.error ? (error?.code ?? 0) : undefined,
      message,
      signed: verifyMessageIntegrity(message, key)
        ? 'sha1'
        : verifyMessageIntegritySha256(message, key)
          ? 'sha256'
          : undefined,
    }
  }

  async refresh(lifetime?: number, build: Build = noAttributes): Promise<Answer> {
    return this.request(StunMethod.refresh, (writer) => {
      if (lifetime !== undefined) writer.u32(StunAttribute.lifetime, lifetime)
      build(writer)
    })
  }

  async permit(...peers: readonly (string | TransportAddress)[]): Promise<number | undefined> {
    const { code } = await this.request(StunMethod.createPermission, (writer) => {
      for (const peer of peers) {
        writer.xorAddress(
          StunAttribute.xorPeerAddress,
          typeof peer === 'string' ? { address: peer, port: 0 } : peer,
        )
      }
    })
    return code
  }

  async bind(channel: number, peer: TransportAddress): Promise<number | undefined> {
    const { code } = await this.request(StunMethod.channelBind, (writer) => {
      writer
        .attribute(StunAttribute.channelNumber, encodeChannelNumber(channel))
        .xorAddress(StunAttribute.xorPeerAddress, peer)
    })
    return code
  }

  /** A Send indication. */
  sendTo(peer: TransportAddress, data: string | Uint8Array, build: Build = noAttributes): void {
    const writer = new StunWriter(StunMethod.send, StunClass.indication, transaction()).xorAddress(
      StunAttribute.xorPeerAddress,
      peer,
    )
    build(writer)
    this.put(writer.attribute(StunAttribute.data, Buffer.from(data)).finish())
  }

  sendChannel(channel: number, data: string | Uint8Array): void {
    this.put(encodeChannelData(channel, Buffer.from(data), true))
  }

  /** What data came, oldest first: `0x4000 text` by a channel, `address port text` in indications. */
  get heard(): readonly string[] {
    return this.inbox.flatMap((bytes) => {
      if (isChannelData(bytes[0])) {
        const { channel, data } = decodeChannelData(bytes) ?? { channel: 0, data: bytes }
        return `0x${channel.toString(16)} ${Buffer.from(data).toString('latin1')}`
      }
      const message = StunMessage.decode(bytes)
      if (typeof message === 'string' || message.method !== StunMethod.data) return []
      const data = message.attribute(StunAttribute.data)
      if (data === undefined) return []
      const peer = decodeXorAddress(
        message.attribute(StunAttribute.xorPeerAddress) ?? new Uint8Array(0),
        message.transactionId,
      )
      return `${peer?.address} ${peer?.port} ${Buffer.from(data).toString('latin1')}`
    })
  }
}

/** A client by UDP. */
export class UdpTestClient extends TestClient {
  readonly #kit: { readonly datapath: FakeDatapath }
  readonly #local: number

  constructor(
    kit: { readonly datapath: FakeDatapath },
    options: TestClientOptions & { readonly local: number },
  ) {
    super(options)
    this.#kit = kit
    this.#local = options.local
    // One address and port may be a client at each address of the server.
    const server = kit.datapath.interfaces[options.local]
    const place = `${this.address} ${this.port}`
    const other = kit.datapath.peers.get(place)
    kit.datapath.peers.set(place, (datagram) => {
      if (datagram.from.address === server) this.inbox.push(datagram.bytes)
      else other?.(datagram)
    })
  }

  override put(bytes: Uint8Array): void {
    const [listener] = this.#kit.datapath.endpoints.values()
    if (listener !== undefined) this.#kit.datapath.receive(listener.id, this, Buffer.from(bytes), this.#local)
  }
}

/** A client by TCP, as the core sees it: messages are framed already. */
export class StreamClient extends TestClient implements Client {
  readonly listener: ListenerState
  readonly transport: ClientTransport = 'tcp'
  readonly isStream = true
  readonly key: string
  isClosed = false
  isFull = false
  readonly #kit: { readonly core: TurnCore }

  constructor(
    kit: { readonly core: TurnCore; readonly listener: ListenerState },
    options: TestClientOptions,
  ) {
    super(options)
    this.#kit = kit
    this.listener = kit.listener
    this.key = `tcp ${this.address} ${this.port} ${serverAddress}`
  }

  override put(bytes: Uint8Array): void {
    this.#kit.core.receive(Buffer.from(bytes), this, this.#kit.core.allocationOf(this.key))
  }

  send(bytes: Uint8Array): boolean {
    if (this.isClosed || this.isFull) return false
    this.inbox.push(Buffer.from(bytes))
    return true
  }

  isGone(): boolean {
    return this.isClosed
  }

  disconnect(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#kit.core.disconnected(this)
  }
}

/** The first address of that type. */
export function addressOf({ message }: Answer, type: number): TransportAddress | undefined {
  return addressesOf({ message }, type)[0]
}

/** All addresses of that type. */
export function addressesOf({ message }: Pick<Answer, 'message'>, type: number): readonly TransportAddress[] {
  return [...message.attributes()].flatMap((attribute) =>
    attribute.type === type ? (decodeXorAddress(attribute.value, message.transactionId) ?? []) : [],
  )
}

/** REQUESTED-TRANSPORT of UDP. */
export function udpTransport(writer: StunWriter): void {
  writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(17))
}

/** UDP and what else is wanted. */
export function udpAnd(build: Build): Build {
  return (writer) => {
    udpTransport(writer)
    build(writer)
  }
}

/** REQUESTED-ADDRESS-FAMILY. */
export function family(number: 1 | 2): Build {
  return (writer) => writer.attribute(StunAttribute.requestedAddressFamily, encodeAddressFamily(number))
}

export function noAttributes(): void {}

/** Lets promises settle that wait for nothing outside. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve()
}
