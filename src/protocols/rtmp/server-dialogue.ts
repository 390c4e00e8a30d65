import { amf0Object, encodeAmf0 } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { CommandLink, WINDOW_BYTES, dialogueDefaults } from './command-link.ts'
import type { DetachedLink, DialogueLimits } from './command-link.ts'
import { readStreamRequest } from './command-stream-request.ts'
import type { StreamRequest } from './command-stream-request.ts'
import { commandMessage, decodeCommand, isCommand } from './command.ts'
import type { Command } from './command.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import { ServerHandshake } from './handshake.ts'
import type { RandomBytes } from './handshake.ts'
import {
  MessageType,
  PeerBandwidthKind,
  UserControlEvent,
  setPeerBandwidthMessage,
  userControlMessage,
  windowAcknowledgementSizeMessage,
} from './message.ts'
import type { RtmpMessage } from './message.ts'

export interface ServerDialogueOptions extends DialogueLimits {
  readonly random: RandomBytes
}

/** What a `ServerDialogue` gives: bytes for the client, what it wants, and after `accept` its messages. */
export type ServerDialogueOutput =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | { readonly kind: 'identified'; readonly request: StreamRequest }
  | { readonly kind: 'message'; readonly message: RtmpMessage }

/**
 * The server's side of an RTMP connection until it is known what the client wants, and further if it is
 * accepted here. After `identified` nothing is read until one of three: `accept` makes this the end of the
 * stream, `refuse` says why not, `detach` hands everything to a relay. Bytes that come in between are kept.
 *
 * There is no clock in it: whoever feeds it ends it when it takes too long.
 *
 * @example
 * dialogue.receive(bytes)
 * for (let out = dialogue.poll(); out; out = dialogue.poll()) handle(out)
 */
export class ServerDialogue {
  readonly #link: CommandLink
  readonly #limits: Required<DialogueLimits>
  readonly #events: ServerDialogueOutput[] = []
  #connect: Command | undefined
  #lastStreamId = 0
  #bufferLengthMs: number | undefined
  #request: StreamRequest | undefined
  #isAccepted = false
  #isOver = false

  constructor(options: ServerDialogueOptions) {
    this.#limits = { ...dialogueDefaults, ...options }
    this.#link = new CommandLink('client', new ServerHandshake(options.random), this.#limits.maxMessageBytes)
  }

  /** While this is true the client should not be read from: what may be kept for later is there. */
  get isFull(): boolean {
    return this.#link.heldBytes >= this.#limits.maxDialogueBytes
  }

  /**
   * Takes bytes of the client, cut anywhere; they must stay as they are until `poll` gave undefined.
   * @throws RtmpError when the handshake is not one
   */
  receive(bytes: Uint8Array): void {
    if (!this.#isOver) this.#link.receive(bytes)
  }

  /**
   * The next output; call it after every other call until it gives undefined.
   * @throws RtmpError when the client broke the protocol or a limit; the connection is then to be closed
   */
  poll(): ServerDialogueOutput | undefined {
    while (this.#events.length === 0) {
      const message = this.#link.next()
      if (message === undefined) break
      this.#take(message)
    }
    this.#checkProgress()
    const bytes = this.#link.takeOutgoing()
    return bytes === undefined ? this.#events.shift() : { kind: 'send', bytes }
  }

  /** Says yes in the words of common servers; from now on the client's messages come out of `poll`. */
  accept(): void {
    const { action, streamId } = this.#identified()
    this.write(userControlMessage(UserControlEvent.streamBegin, u32(streamId)))
    if (action === 'publish') {
      const status = { code: 'NetStream.Publish.Start', description: 'Started publishing stream.' }
      this.write(
        commandMessage({ name: 'onFCPublish', transactionId: 0, args: [null, amf0Object(status)] }, streamId),
      )
      this.#status('status', status.code, status.description)
    } else {
      this.#status('status', 'NetStream.Play.Reset', 'Playing and resetting stream.')
      this.#status('status', 'NetStream.Play.Start', 'Started playing stream.')
      this.write(dataMessage(streamId, '|RtmpSampleAccess', true, true))
    }
    this.#isAccepted = true
    this.#link.resume()
  }

  /** Says no; what the client sends from now on is ignored. Close the connection once this is sent. */
  refuse(code: string, description: string): void {
    this.#status('error', code, description)
    this.#isOver = true
  }

  /** Writes a message to the client. @throws RTMP_MESSAGE_UNWRITABLE */
  write(message: RtmpMessage): void {
    this.#link.send(message)
  }

  /** Ends the dialogue where it is: all that came and was not read, for a relay. Drain `poll` before. */
  detach(): DetachedLink {
    this.#isOver = true
    return this.#link.detach(this.#identified().streamId)
  }

  #take(message: RtmpMessage): void {
    if (this.#isOver) return
    if (this.#isAccepted) this.#events.push({ kind: 'message', message })
    else if (isCommand(message)) this.#call(decodeCommand(message, 'client'), message.streamId)
    else if (message.type === MessageType.userControl) this.#noteBufferLength(message.payload)
    // Anything else before publish or play has no stream that it could belong to.
  }

  #call(command: Command, streamId: number): void {
    const { name, transactionId } = command
    if (name === 'connect') {
      this.#answerConnect(command)
      return
    }
    if (unanswered.has(name)) return
    const connect = this.#connect
    if (connect === undefined) throw invalid(`${name} before connect`)
    if (name === 'publish' || name === 'play') {
      const context = { streamId, bufferLengthMs: this.#bufferLengthMs, side: 'client' } as const
      this.#request = readStreamRequest(connect, command, context)
      this.#events.push({ kind: 'identified', request: this.#request })
      this.#link.hold()
      return
    }
    const result = name === 'createStream' ? ++this.#lastStreamId : undefined
    this.write(commandMessage({ name: '_result', transactionId, args: [null, result] }))
  }

  #answerConnect(command: Command): void {
    if (this.#connect !== undefined) throw invalid('a second connect')
    this.#connect = command
    this.write(windowAcknowledgementSizeMessage(WINDOW_BYTES))
    this.write(setPeerBandwidthMessage(WINDOW_BYTES, PeerBandwidthKind.dynamic))
    this.#link.announceChunkSize()
    const server = amf0Object({ fmsVer: 'FMS/3,5,3,888', capabilities: 127, mode: 1 })
    const status = amf0Object({
      level: 'status',
      code: 'NetConnection.Connect.Success',
      description: 'Connection succeeded',
      objectEncoding: 0,
      data: { kind: 'ecma-array', count: 1, entries: [['version', '3,5,3,888']] },
    })
    const { transactionId } = command
    this.write(commandMessage({ name: '_result', transactionId, args: [server, status] }))
  }

  #status(level: 'status' | 'error', code: string, description: string): void {
    const { streamId, streamName } = this.#identified()
    const info = amf0Object({ level, code, description, details: streamName, clientid: 'sluice' })
    this.write(commandMessage({ name: 'onStatus', transactionId: 0, args: [null, info] }, streamId))
  }

  #noteBufferLength(payload: Uint8Array): void {
    if (payload.length < 10 || payload[0] !== 0 || payload[1] !== UserControlEvent.setBufferLength) return
    this.#bufferLengthMs = new DataView(payload.buffer, payload.byteOffset).getUint32(6)
  }

  #identified(): StreamRequest {
    if (this.#request === undefined) {
      throw new RtmpError(RtmpErrorCode.commandInvalid, 'nothing was asked for yet', { side: 'self' })
    }
    return this.#request
  }

  #checkProgress(): void {
    const { maxDialogueBytes } = this.#limits
    if (this.#request !== undefined || this.#link.bytesReceived <= maxDialogueBytes) return
    throw invalid(`neither publish nor play within ${maxDialogueBytes} bytes`)
  }
}

/** Calls that clients expect no answer to, and answers of theirs. */
const unanswered: ReadonlySet<string> = new Set(['getStreamLength', '_result', '_error', 'onStatus'])

function dataMessage(streamId: number, ...values: readonly Amf0Value[]): RtmpMessage {
  return { chunkStreamId: 5, type: MessageType.data, streamId, timestamp: 0, payload: encodeAmf0(...values) }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function invalid(message: string): RtmpError {
  return new RtmpError(RtmpErrorCode.commandInvalid, message)
}
