import type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
import {
  type ByteCodec,
  encodeMessage,
  encodeUdpPacket,
  type FrpMessage,
  type MessageBodies,
  MessageDecoder,
  type MessageName,
  type UdpPacket,
  type UdpPacketCodec,
  type WireVersion,
} from '../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from './errors.ts'

/** Most bytes that wait for a peer which does not read; above it a channel is cut. */
const maxUnsentBytes = 1024 * 1024
/** With so many datagrams are dropped: they leave room for messages. */
const maxUnsentDatagramBytes = maxUnsentBytes / 2

export interface MessageChannelOptions {
  /** What the hellos of the control connection agreed on for datagrams. @defaultValue 'json' */
  readonly udpPacketCodec?: UdpPacketCodec
}

interface Hello {
  readonly of: 'client' | 'server'
  readonly onHello: (payload: Buffer) => void
}

/** Types of frames of v2 (reference §5). */
const helloFrame = { client: 1, server: 2 } as const
const messageFrame = 16

/**
 * frp messages over a byte stream. Set `onMessage` and `onClose`, then `resume`; messages are told one by one, so that within
 * `onMessage` the channel may be paused, secured or left.
 *
 * Whatever ends the reading of messages ends the stream: the peer's end, a codec that fails, a message that is none.
 */
export class MessageChannel {
  /** Called for each message; must not throw. A datagram's content is valid during the call only. */
  onMessage: (message: FrpMessage) => void = ignore
  /** Called once when the stream is over, not after `detach`. With the reason, unless it ended in order. */
  onClose: (error?: Error) => void = ignore
  /** All that was sent has gone, after `send` had said that the stream is full. */
  onDrain: () => void = ignore

  readonly #stream: ByteStream
  readonly #version: WireVersion
  readonly #udpPacketCodec: UdpPacketCodec
  #decoder: MessageDecoder
  #hello: Hello | undefined
  /** The type of the first frame of the stream, and how much of the stream has been read: for hellos only. */
  #firstType = 0
  #readBytes = 0
  #codec: ByteCodec | undefined
  #isPaused = true
  /** `left` to another reader, or `cut` by this side, which `onClose` follows. */
  #state: 'open' | 'left' | 'cut' | 'closed' = 'open'
  /** What was written since the stream said that it is full. */
  #unsentBytes = 0
  #isFull = false
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0

  /** The magic of v2 is not the channel's: it has been read or written before. */
  constructor(stream: ByteStream, version: WireVersion, options: MessageChannelOptions = {}) {
    this.#stream = stream
    this.#version = version
    this.#udpPacketCodec = options.udpPacketCodec ?? 'json'
    this.#decoder = new MessageDecoder(version, options)
    stream.attach(this.#sink())
  }

  get version(): WireVersion {
    return this.#version
  }

  /** Nothing more is sent or told; only `onClose` may still come. */
  get isOver(): boolean {
    return !this.#isOpen()
  }

  /** Expects the peer's hello ahead of messages (v2, control connection); `onHello` is given its payload. */
  expectHello(of: 'client' | 'server', onHello: (payload: Buffer) => void): void {
    this.#hello = { of, onHello }
  }

  /** Begins or goes on to tell messages. */
  resume(): void {
    if (!this.#isOpen()) return
    this.#isPaused = false
    this.#deliver()
    if (!this.#isPaused && this.#isOpen()) this.#stream.resume()
  }

  /** No message, and no end of the peer's, until `resume`. */
  pause(): void {
    if (!this.#isOpen()) return
    this.#isPaused = true
    this.#stream.pause()
  }

  /**
   * Sends a message. False: the stream is full; what is sent nevertheless counts, and cuts the channel when it is too much.
   * On a channel that is over nothing is sent, and the answer is `true`.
   */
  send<Name extends MessageName>(name: Name, body: Partial<MessageBodies[Name]>): boolean {
    if (!this.#isOpen()) return true
    this.flush()
    const isTaken = this.#write(encodeMessage(this.#version, name, body))
    this.#cutWhenUnread()
    return isTaken
  }

  /** The same for a message that goes together with the others of this turn of the event loop. */
  sendSoon<Name extends MessageName>(name: Name, body: Partial<MessageBodies[Name]>): void {
    if (this.#isOpen()) this.#gather(encodeMessage(this.#version, name, body))
  }

  /** Sends bytes that are no message: magic, a hello frame. */
  sendRaw(bytes: Uint8Array): void {
    if (!this.#isOpen()) return
    this.flush()
    this.#write(bytes)
  }

  /**
   * Sends a datagram, together with the others of this turn of the event loop. False: dropped, because the peer does not read.
   * The content is copied.
   * @throws FrpError for one that no message holds
   */
  sendDatagram(packet: UdpPacket): boolean {
    if (!this.#isOpen() || this.#unsentBytes + this.#gatheredBytes > maxUnsentDatagramBytes) return false
    this.#gather(encodeUdpPacket(this.#version, packet, this.#udpPacketCodec))
    return true
  }

  /** Sends what has been gathered in this turn at once. */
  flush(): void {
    const gathered = this.#gathered
    if (gathered.length === 0) return
    const [first] = gathered
    const bytes =
      gathered.length === 1 && first !== undefined ? first : Buffer.concat(gathered, this.#gatheredBytes)
    this.#gathered = []
    this.#gatheredBytes = 0
    if (!this.#isOpen()) return
    this.#write(bytes)
    this.#cutWhenUnread()
  }

  /** All that is sent and read from now on goes through the codec, with what has been read already behind the last message. */
  secure(codec: ByteCodec): void {
    this.flush()
    try {
      const rest = this.#decoder.rest()
      this.#codec = codec
      this.#decoder = new MessageDecoder(this.#version, { udpPacketCodec: this.#udpPacketCodec })
      if (rest.length > 0) this.#decoder.push(codec.decode(rest))
    } catch (error) {
      this.#fail(error)
    }
  }

  /**
   * Gives the stream back, paused, with what was read behind the last message put back. Not of a channel that is secured.
   * Whoever takes it attaches a sink; the channel tells nothing more.
   */
  detach(): ByteStream {
    if (this.#codec !== undefined) throw new TypeError('a secured channel cannot be left')
    this.flush()
    this.#stream.pause()
    if (this.#isOpen()) {
      const rest = this.#decoder.rest()
      if (rest.length > 0) this.#stream.unread(rest)
    }
    this.#state = 'left'
    return this.#stream
  }

  /** Ends this side after what was sent; the channel is over when the peer ends its side, too. */
  end(): void {
    this.flush()
    if (this.#isOpen()) this.#stream.end()
  }

  /** Ends the stream now; `onClose` follows. */
  destroy(error?: Error): void {
    if (!this.#isOpen()) return
    this.#state = 'cut'
    this.#stream.destroy(error)
  }

  #gather(encoded: Uint8Array): void {
    if (this.#gathered.length === 0) setImmediate(() => this.flush())
    this.#gathered.push(encoded)
    this.#gatheredBytes += encoded.length
  }

  #cutWhenUnread(): void {
    if (this.#unsentBytes <= maxUnsentBytes) return
    this.destroy(
      new TunnelError(TunnelErrorCode.closed, `the peer left ${this.#unsentBytes} bytes unread`, {
        side: 'client',
        retryable: true,
      }),
    )
  }

  #isOpen(): boolean {
    return this.#state === 'open'
  }

  #write(bytes: Uint8Array): boolean {
    const sent = this.#codec === undefined ? bytes : this.#codec.encode(bytes)
    const isTaken = this.#stream.write(sent)
    if (!isTaken) this.#isFull = true
    if (this.#isFull) this.#unsentBytes += sent.length
    return !this.#isFull
  }

  #sink(): ByteSink {
    return {
      onBytes: (bytes) => {
        this.#read(bytes)
        return true
      },
      // Nobody says anything useful to a peer that cannot answer.
      onEnd: () => this.destroy(),
      onDrain: () => {
        this.#isFull = false
        this.#unsentBytes = 0
        this.onDrain()
      },
      onClose: (error) => {
        if (this.#state === 'left') return
        this.#state = 'closed'
        this.#gathered = []
        this.#gatheredBytes = 0
        this.onClose(error)
      },
    }
  }

  #read(bytes: Uint8Array): void {
    if (!this.#isOpen()) return
    if (this.#hello !== undefined) this.#noteType(bytes)
    try {
      this.#decoder.push(this.#codec === undefined ? bytes : this.#codec.decode(bytes))
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#deliver()
  }

  #deliver(): void {
    while (!this.#isPaused && this.#isOpen()) {
      let message: FrpMessage | undefined
      try {
        if (this.#hello !== undefined && !this.#readHello(this.#hello)) return
        message = this.#decoder.next()
      } catch (error) {
        this.#fail(error)
        return
      }
      if (message === undefined) return
      this.onMessage(message)
    }
  }

  #noteType(bytes: Uint8Array): void {
    for (let at = 0; this.#readBytes + at < 2 && at < bytes.length; at++) {
      this.#firstType = (this.#firstType << 8) | (bytes[at] ?? 0)
    }
    this.#readBytes += bytes.length
  }

  /** False: it has not arrived in full. */
  #readHello({ of, onHello }: Hello): boolean {
    if (this.#readBytes < 2) return false
    // A message comes first: of a connection that is no control connection, or from a peer that will be told.
    if (this.#firstType !== messageFrame) {
      const payload = this.#decoder.nextHello(of)
      if (payload === undefined && this.#firstType === helloFrame[of]) return false
      if (payload !== undefined) onHello(payload)
    }
    this.#hello = undefined
    return true
  }

  #fail(error: unknown): void {
    if (error instanceof TunnelError) {
      this.destroy(error)
      return
    }
    const message = error instanceof Error ? error.message : String(error)
    this.destroy(new TunnelError(TunnelErrorCode.protocol, message, { side: 'client', cause: error }))
  }
}

function ignore(): void {}
