import {
  aeadAlgorithms,
  aeadCodec,
  aeadNonceBytes,
  type ByteCodec,
  ByteQueue,
  cfbCodec,
  cfbKey,
  type FrpMessage,
  type MessageBodies,
  MessageDecoder,
  type MessageName,
  parseClientHello,
  parseServerHello,
  transcriptHash,
  V2_MAGIC,
  type WireVersion,
} from '../../src/protocols/frp/index.ts'

export type Side = 'client' | 'server'

export interface ConversationOptions {
  readonly wire: WireVersion
  readonly mux: boolean
  readonly token: string
}

/** A message that a side has said. */
export interface Said {
  /** The yamux stream, or without mux the connection. */
  readonly channel: number
  readonly from: Side
  readonly message: FrpMessage
}

/** What two peers have said to one another, read along from the bytes on the wire: of frp's control, work and visitor connections. */
export class Conversation {
  readonly said: Said[] = []
  readonly #options: ConversationOptions
  readonly #channels = new Map<number, Channel>()
  readonly #frames = { client: new YamuxReader(), server: new YamuxReader() }

  constructor(options: ConversationOptions) {
    this.#options = options
  }

  /** Bytes of a connection. With mux there is one connection only. */
  push(connection: number, from: Side, bytes: Uint8Array): void {
    if (!this.#options.mux) {
      this.#channel(connection).push(from, bytes)
      return
    }
    for (const { stream, data } of this.#frames[from].push(bytes)) this.#channel(stream).push(from, data)
  }

  /** The random bytes of each side's hello; with v1 there are none. */
  get randoms(): Partial<Record<Side, Uint8Array>> {
    return [...this.#channels.values()].find(({ kind }) => kind === 'control')?.randoms ?? {}
  }

  /** The bodies of messages of this name, in order. */
  bodies<Name extends MessageName>(name: Name): MessageBodies[Name][] {
    // They have this name.
    return this.said
      .filter(({ message }) => message.name === name)
      .map(({ message }) => message.body as MessageBodies[Name])
  }

  /** Bytes on a channel that are no messages, with the proxy that they are for. */
  payloads(): {
    readonly channel: number
    readonly proxy: string
    readonly client: Buffer
    readonly server: Buffer
  }[] {
    return [...this.#channels].map(([channel, { proxy, payload }]) => ({
      channel,
      proxy,
      client: Buffer.concat(payload.client),
      server: Buffer.concat(payload.server),
    }))
  }

  #channel(id: number): Channel {
    let channel = this.#channels.get(id)
    if (channel === undefined) {
      channel = new Channel(this.#options, (from, message) =>
        this.said.push({ channel: id, from, message: kept(message) }),
      )
      this.#channels.set(id, channel)
    }
    return channel
  }
}

/** A datagram's content is the decoder's until it goes on. */
function kept(message: FrpMessage): FrpMessage {
  if (message.name !== 'UDPPacket') return message
  return { name: 'UDPPacket', body: { ...message.body, content: Buffer.from(message.body.content) } }
}

/** Proxies on whose connections messages go on. */
const datagramProxies = new Set(['udp', 'sudp'])

/** One connection in frp's sense. */
class Channel {
  kind: 'control' | 'work' | 'visitor' | undefined
  proxy = ''
  readonly payload: Record<Side, Buffer[]> = { client: [], server: [] }
  readonly #options: ConversationOptions
  readonly #onMessage: (from: Side, message: FrpMessage) => void
  /** Undefined: what follows are no messages. */
  readonly #decoders: Record<Side, MessageDecoder | undefined>
  readonly #codecs: Partial<Record<Side, ByteCodec>> = {}
  readonly #hellos: Partial<Record<Side, Buffer>> = {}
  readonly #isSecured: Record<Side, boolean> = { client: false, server: false }
  #magicBytes: number

  constructor(options: ConversationOptions, onMessage: (from: Side, message: FrpMessage) => void) {
    this.#options = options
    this.#onMessage = onMessage
    this.#decoders = { client: new MessageDecoder(options.wire), server: new MessageDecoder(options.wire) }
    this.#magicBytes = options.wire === 'v2' ? V2_MAGIC.length : 0
  }

  /** What each side's hello has as its random bytes. */
  get randoms(): Partial<Record<Side, Uint8Array>> {
    const { client, server } = this.#hellos
    return {
      ...(client !== undefined && { client: parseClientHello(client).clientRandom }),
      ...(server !== undefined && { server: parseServerHello(server).serverRandom }),
    }
  }

  push(from: Side, bytes: Uint8Array): void {
    if (from === 'client' && this.#magicBytes > 0) {
      const taken = Math.min(this.#magicBytes, bytes.length)
      this.#magicBytes -= taken
      this.push(from, bytes.subarray(taken))
      return
    }
    if (bytes.length === 0) return
    if (this.#decoders[from] === undefined) this.payload[from].push(Buffer.from(bytes))
    else this.#readMessages(from, bytes)
  }

  #readMessages(from: Side, bytes: Uint8Array): void {
    const isControlled = this.kind === 'control' && this.#isSecured[from]
    this.#decoders[from]?.push(isControlled ? this.#codec(from).decode(bytes) : bytes)
    for (;;) {
      const decoder = this.#decoders[from]
      if (decoder === undefined) return
      const hello = decoder.nextHello(from)
      if (hello !== undefined) this.#hellos[from] = hello
      const message = decoder.next()
      if (message === undefined) return
      this.#onMessage(from, message)
      this.#note(from, message)
    }
  }

  #note(from: Side, { name, body }: FrpMessage): void {
    if (name === 'Login' || name === 'LoginResp') {
      this.kind = 'control'
      const rest = this.#decoders[from]?.rest() ?? Buffer.alloc(0)
      this.#decoders[from] = new MessageDecoder(this.#options.wire)
      this.#isSecured[from] = true
      this.push(from, rest)
    } else if (name === 'NewWorkConn') {
      this.kind = 'work'
    } else if (name === 'NewVisitorConn') {
      this.kind = 'visitor'
      this.proxy = body.proxy_name
      this.#leaveMessages('client')
    } else if (name === 'NewVisitorConnResp') {
      this.#leaveMessages('server')
    } else if (name === 'StartWorkConn') {
      this.proxy = body.proxy_name
      this.#leaveMessages('client')
      this.#leaveMessages('server')
    }
  }

  #leaveMessages(side: Side): void {
    if (datagramProxies.has(this.proxy)) return
    const rest = this.#decoders[side]?.rest() ?? Buffer.alloc(0)
    this.#decoders[side] = undefined
    this.push(side, rest)
  }

  #codec(from: Side): ByteCodec {
    this.#codecs[from] ??= this.#makeCodec(from)
    return this.#codecs[from]
  }

  #makeCodec(from: Side): ByteCodec {
    const { wire, token } = this.#options
    if (wire === 'v1') return cfbCodec(cfbKey(token), new Uint8Array(16))
    const { client, server } = this.#hellos
    if (client === undefined || server === undefined) throw new Error('secured without hellos')
    const algorithm = aeadAlgorithms.find((known) => known === parseServerHello(server).algorithm)
    if (algorithm === undefined) throw new Error('a cipher that is unknown')
    return aeadCodec({
      algorithm,
      token,
      transcript: transcriptHash(client, server),
      // Whoever reads what one side says stands where the other does.
      role: from === 'client' ? 'server' : 'client',
      nonce: new Uint8Array(aeadNonceBytes(algorithm)),
    })
  }
}

const yamuxHeaderBytes = 12

/** Finds the data of streams in one direction of a yamux session. */
class YamuxReader {
  readonly #queue = new ByteQueue()

  push(bytes: Uint8Array): { readonly stream: number; readonly data: Buffer }[] {
    const queue = this.#queue
    queue.push(bytes)
    const found: { stream: number; data: Buffer }[] = []
    while (queue.length >= yamuxHeaderBytes) {
      const isData = queue.u8(1) === 0
      const stream = queue.u32(4)
      const length = isData ? queue.u32(8) : 0
      if (queue.length < yamuxHeaderBytes + length) break
      if (isData) found.push({ stream, data: Buffer.from(queue.view(yamuxHeaderBytes, length)) })
      queue.skip(yamuxHeaderBytes + length)
    }
    return found
  }
}
