import { ByteWriter } from '../../foundation/bytes.ts'
import type { Side } from '../../foundation/errors.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { ChunkReaderState } from './chunk-reader.ts'
import { ChunkWriter } from './chunk-writer.ts'
import type { HandshakeStep } from './handshake.ts'
import { announcedWindow } from './message-control.ts'
import {
  MessageType,
  UserControlEvent,
  acknowledgementMessage,
  setChunkSizeMessage,
  userControlMessage,
} from './message.ts'
import type { RtmpMessage } from './message.ts'

/** Chunk size that we announce to every peer: few headers, and yet other messages get in between. */
export const ANNOUNCED_CHUNK_SIZE = 65_536

/** Acknowledgement window, in bytes, that we announce, and that holds for a peer that announced none. */
export const WINDOW_BYTES = 2_500_000

/** Bounds of a dialogue. */
export interface DialogueLimits {
  /** Largest message, in bytes. @defaultValue 8388608 */
  readonly maxMessageBytes?: number
  /** Bytes that the peer may send before the dialogue has come to its point. @defaultValue 65536 */
  readonly maxDialogueBytes?: number
}

export const dialogueDefaults: Required<DialogueLimits> = {
  maxMessageBytes: 8 * 1024 * 1024,
  maxDialogueBytes: 64 * 1024,
}

/** One connection whose dialogue is over, for a relay that takes it on. */
export interface DetachedLink {
  /** Where reading stopped, with all bytes that came and were not read. */
  readonly reader: ChunkReaderState
  /** Chunk size that we announced to this peer and write with. */
  readonly writeChunkSize: number
  /** Message stream of the publish or play on this connection. */
  readonly streamId: number
  /** Bytes after which this peer wants an Acknowledgement. */
  readonly windowBytes: number
}

interface Handshake {
  receive(bytes: Uint8Array): HandshakeStep
}

/**
 * What both dialogues stand on: handshake, messages in and out, and the protocol control messages, which it
 * answers by itself.
 */
export class CommandLink {
  readonly #side: Side
  readonly #reader: ChunkReader
  readonly #writer = new ChunkWriter()
  #handshake: Handshake | undefined
  #outgoing: Buffer[] = []
  #held: ByteWriter | undefined
  #windowBytes = WINDOW_BYTES
  #acknowledgedBytes = 0

  constructor(side: Side, handshake: Handshake, maxMessageBytes: number) {
    this.#side = side
    this.#handshake = handshake
    this.#reader = new ChunkReader({ side, maxMessageBytes })
  }

  get isOpen(): boolean {
    return this.#handshake === undefined
  }

  /** Bytes that came after the handshake. */
  get bytesReceived(): number {
    return this.#reader.bytesReceived + this.heldBytes
  }

  /** Bytes that came since `hold`. */
  get heldBytes(): number {
    return this.#held?.length ?? 0
  }

  /** The bytes are only looked at until `next` gives undefined. @throws RTMP_HANDSHAKE */
  receive(bytes: Uint8Array): void {
    let rest: Uint8Array = bytes
    if (this.#handshake !== undefined) {
      const step = this.#handshake.receive(bytes)
      this.sendBytes(step.send)
      if (step.rest === undefined) return
      this.#handshake = undefined
      rest = step.rest
    }
    if (this.#held === undefined) this.#reader.push(rest)
    else this.#held.bytes(rest)
    this.#acknowledge()
  }

  /** The next message that is not about the connection itself. @throws RtmpError */
  next(): RtmpMessage | undefined {
    if (this.#held !== undefined) return undefined
    for (let message = this.#reader.next(); message !== undefined; message = this.#reader.next()) {
      if (!this.#control(message)) return message
    }
    return undefined
  }

  /** From now on bytes are kept and not read. */
  hold(): void {
    // An empty push makes the reader copy what it has not read out of the caller's buffer.
    this.#reader.push(new Uint8Array(0))
    this.#held = new ByteWriter(0)
  }

  /** Reads on, with what came meanwhile. */
  resume(): void {
    const held = this.#held
    if (held === undefined) return
    this.#held = undefined
    this.#reader.push(held.finish())
  }

  send(message: RtmpMessage): void {
    this.sendBytes(this.#writer.write(message))
  }

  sendBytes(bytes: Buffer): void {
    if (bytes.length > 0) this.#outgoing.push(bytes)
  }

  /** Sends Set Chunk Size, and keeps to it. */
  announceChunkSize(): void {
    this.send(setChunkSizeMessage(ANNOUNCED_CHUNK_SIZE))
    this.#writer.setChunkSize(ANNOUNCED_CHUNK_SIZE)
  }

  /** All that is to be sent now. */
  takeOutgoing(): Buffer | undefined {
    if (this.#outgoing.length === 0) return undefined
    const bytes = Buffer.concat(this.#outgoing)
    this.#outgoing = []
    return bytes
  }

  detach(streamId: number): DetachedLink {
    const state = this.#reader.detach()
    const held = this.#held?.finish() ?? Buffer.alloc(0)
    return {
      reader: {
        ...state,
        unread: Buffer.concat([state.unread, held]),
        bytesReceived: state.bytesReceived + held.length,
      },
      writeChunkSize: this.#writer.chunkSize,
      streamId,
      windowBytes: this.#windowBytes,
    }
  }

  /** True for a message that is about this connection only, and is dealt with. */
  #control(message: RtmpMessage): boolean {
    switch (message.type) {
      case MessageType.windowAcknowledgementSize:
        this.#windowBytes = announcedWindow(message.payload, this.#side) ?? WINDOW_BYTES
        return true
      case MessageType.setChunkSize:
      case MessageType.abort:
      case MessageType.acknowledgement:
      case MessageType.setPeerBandwidth:
        return true
      case MessageType.userControl:
        return this.#answerPing(message.payload)
      default:
        return false
    }
  }

  #answerPing(payload: Uint8Array): boolean {
    const event = (payload[0] ?? 0) * 256 + (payload[1] ?? 0)
    if (event === UserControlEvent.pingRequest) {
      this.send(userControlMessage(UserControlEvent.pingResponse, payload.subarray(2, 6)))
      return true
    }
    return event === UserControlEvent.pingResponse
  }

  #acknowledge(): void {
    const received = this.bytesReceived
    if (received - this.#acknowledgedBytes < this.#windowBytes) return
    this.#acknowledgedBytes = received
    this.send(acknowledgementMessage(received))
  }
}
