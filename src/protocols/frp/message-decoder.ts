import { ByteQueue } from './byte-queue.ts'
import { FrpError, FrpErrorCode } from './errors.ts'
import { FrameType, v1HeaderBytes, v1MostBytes, v2HeaderBytes, v2IdBytes, v2MostBytes } from './framing.ts'
import { readStruct } from './go-json.ts'
import { messageTypeOfV1, messageTypeOfV2, type MessageType } from './message-structs.ts'
import type { FrpMessage, WireVersion } from './messages.ts'
import { binaryUdpPacketId, UdpPacketReader, type UdpPacketCodec } from './udp-packet.ts'

/** What a `MessageDecoder` may be told. */
export interface MessageDecoderOptions {
  /** The form of datagrams that the hellos have agreed on; the other form is an error then. @defaultValue 'json' */
  readonly udpPacketCodec?: UdpPacketCodec
}

/**
 * Finds messages in a stream of bytes that comes cut anywhere: `push`, then `next` until it answers `undefined`. What was
 * pushed is copied, and kept until it is asked for, so the pace is the caller's. After an error the decoder gives nothing but
 * that error. With v2 it begins behind the magic.
 */
export class MessageDecoder {
  readonly #version: WireVersion
  readonly #udpPacketCodec: UdpPacketCodec
  readonly #udpPackets = new UdpPacketReader()
  readonly #queue = new ByteQueue()
  #failure: FrpError | undefined
  #isOver = false

  constructor(version: WireVersion, options: MessageDecoderOptions = {}) {
    this.#version = version
    this.#udpPacketCodec = options.udpPacketCodec ?? 'json'
  }

  push(bytes: Uint8Array): void {
    if (this.#isOver) throw new TypeError('the decoder is over: rest() has been called')
    if (this.#failure === undefined) this.#queue.push(bytes)
  }

  /**
   * The next message; `undefined` when it has not arrived in full.
   *
   * @throws FrpError FRP_FRAME, FRP_MESSAGE_TYPE, FRP_MESSAGE_TOO_LARGE, FRP_MESSAGE_INVALID
   */
  next(): FrpMessage | undefined {
    return this.#guarded(() => (this.#version === 'v1' ? this.#nextV1() : this.#nextV2()))
  }

  /**
   * With v2, the JSON of a hello when that is next, in memory of its own; `undefined` when the next frame is something else
   * or has not arrived in full. Whoever waits for either asks for the hello first, then for the message.
   *
   * @throws FrpError FRP_FRAME, FRP_MESSAGE_TOO_LARGE
   */
  nextHello(kind: 'client' | 'server'): Buffer | undefined {
    return this.#guarded(() => {
      const type = kind === 'client' ? FrameType.clientHello : FrameType.serverHello
      if (this.#version === 'v1' || this.#queue.length < 2 || this.#queue.u16(0) !== type) return undefined
      const payload = this.#v2Payload()
      if (payload === undefined) return undefined
      const hello = Buffer.from(payload)
      this.#queue.skip(v2HeaderBytes + payload.length)
      return hello
    })
  }

  /** The bytes behind the last message, for who takes the connection over. The decoder is over then. */
  rest(): Buffer {
    this.#isOver = true
    return this.#queue.takeAll()
  }

  #guarded<Result>(step: () => Result): Result {
    if (this.#failure !== undefined) throw this.#failure
    try {
      return step()
    } catch (error) {
      if (error instanceof FrpError) {
        this.#failure = error
        this.#queue.takeAll()
      }
      throw error
    }
  }

  #nextV1(): FrpMessage | undefined {
    const queue = this.#queue
    if (queue.length === 0) return undefined
    const type = messageTypeOfV1(queue.u8(0))
    if (type === undefined) throw unknownType(queue.u8(0))
    if (queue.length < v1HeaderBytes) return undefined
    const length = queue.u32(5)
    if (queue.u32(1) !== 0 || length > v1MostBytes) throw tooLarge(v1MostBytes)
    if (queue.length < v1HeaderBytes + length) return undefined
    const message = this.#read(type, queue.view(v1HeaderBytes, length))
    queue.skip(v1HeaderBytes + length)
    return message
  }

  #nextV2(): FrpMessage | undefined {
    const queue = this.#queue
    if (queue.length < 2) return undefined
    const type = queue.u16(0)
    if (!isFrameType(type)) throw misplacedFrame(type)
    const payload = this.#v2Payload()
    if (payload === undefined) return undefined
    // Only now: a hello in parts is one that `nextHello` waits for.
    if (type !== FrameType.message) throw misplacedFrame(type)
    if (payload.length < v2IdBytes)
      throw new FrpError(FrpErrorCode.frame, 'a message frame without message id')
    const message = this.#readV2(payload.readUInt16BE(0), payload.subarray(v2IdBytes))
    queue.skip(v2HeaderBytes + payload.length)
    return message
  }

  #readV2(id: number, content: Buffer): FrpMessage {
    const isBinary = this.#udpPacketCodec === 'binary-v1'
    if (isBinary && id === binaryUdpPacketId) {
      return { name: 'UDPPacket', body: this.#udpPackets.binary(content) }
    }
    const type = messageTypeOfV2(id)
    if (type === undefined || (isBinary && type.name === 'UDPPacket')) throw unknownType(id)
    return this.#read(type, content)
  }

  #read({ name, struct }: MessageType, content: Buffer): FrpMessage {
    if (name === 'UDPPacket') return { name, body: this.#udpPackets.json(content) }
    // The structs are checked against the types of the bodies where they are written down.
    return { name, body: readStruct(content, struct) } as unknown as FrpMessage
  }

  /** A view of the payload of the frame in front, when it has arrived in full. */
  #v2Payload(): Buffer | undefined {
    const queue = this.#queue
    if (queue.length < v2HeaderBytes) return undefined
    if (queue.u16(2) !== 0) throw new FrpError(FrpErrorCode.frame, `a frame with flags ${queue.u16(2)}`)
    const length = queue.u32(4)
    if (length > v2MostBytes) throw tooLarge(v2MostBytes)
    return queue.length < v2HeaderBytes + length ? undefined : queue.view(v2HeaderBytes, length)
  }
}

function isFrameType(type: number): boolean {
  return type === FrameType.clientHello || type === FrameType.serverHello || type === FrameType.message
}

function misplacedFrame(type: number): FrpError {
  return new FrpError(FrpErrorCode.frame, `a frame of type ${type} where a message should be`)
}

function unknownType(type: number): FrpError {
  return new FrpError(FrpErrorCode.messageType, `a message of type ${type} is unknown here`)
}

function tooLarge(most: number): FrpError {
  return new FrpError(FrpErrorCode.messageTooLarge, `a message above the limit of ${most} bytes`)
}
