import { amf0Property, amf0Text } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { CommandLink, WINDOW_BYTES, dialogueDefaults } from './command-link.ts'
import type { DetachedLink, DialogueLimits } from './command-link.ts'
import type { StreamRequest } from './command-stream-request.ts'
import { commandMessage, decodeCommand, isCommand, rawCommandMessage } from './command.ts'
import type { Command } from './command.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import { ClientHandshake } from './handshake.ts'
import type { RandomBytes } from './handshake.ts'
import {
  MessageType,
  UserControlEvent,
  userControlMessage,
  windowAcknowledgementSizeMessage,
} from './message.ts'
import type { RtmpMessage } from './message.ts'

export interface ClientDialogueOptions extends DialogueLimits {
  readonly random: RandomBytes
}

/** An origin's no, in its own words. */
export interface Refusal {
  /** As `NetStream.Play.StreamNotFound`. */
  readonly code: string
  readonly description: string
  /** The RTMP URL that the origin would have the client go to (`ex.redirect`, code 302). */
  readonly redirect: string | undefined
  /** Message stream that the origin gave; 0 when it refused before. */
  readonly streamId: number
  /**
   * Messages since `publish` or `play` was sent, the refusing one last; none when the origin refused
   * before.
   */
  readonly messages: readonly RtmpMessage[]
}

/** What a `ClientDialogue` gives: bytes for the origin, how it ended, and then further messages. */
export type ClientDialogueOutput =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | {
      readonly kind: 'ready'
      /** Message stream that the origin gave. */
      readonly streamId: number
      /** What the origin said since `publish` or `play` was sent, for the client. */
      readonly messages: readonly RtmpMessage[]
    }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'message'; readonly message: RtmpMessage }

/**
 * The client's side of an RTMP connection, from the handshake to the status of `publish` or `play`. All
 * that the request says goes out as it came: connect object and further arguments, stream name, type,
 * start, duration and reset. After `ready` either `detach` hands the connection to a relay, or `poll` goes
 * on to give the origin's messages.
 */
export class ClientDialogue {
  readonly #request: StreamRequest
  readonly #link: CommandLink
  readonly #handshake: ClientHandshake
  readonly #limits: Required<DialogueLimits>
  readonly #events: ClientDialogueOutput[] = []
  readonly #replies: RtmpMessage[] = []
  #phase: 'handshake' | 'connect' | 'createStream' | 'request' | 'ready' | 'over' = 'handshake'
  #streamId = 0

  constructor(request: StreamRequest, options: ClientDialogueOptions) {
    this.#request = request
    this.#limits = { ...dialogueDefaults, ...options }
    this.#handshake = new ClientHandshake(options.random)
    this.#link = new CommandLink('origin', this.#handshake, this.#limits.maxMessageBytes)
    this.#link.sendBytes(this.#handshake.hello)
  }

  /** Whether the handshake is over: the origin speaks RTMP. */
  get isOpen(): boolean {
    return this.#link.isOpen
  }

  /** Whether the origin has given a stream, and `publish` or `play` was sent: its word on it may take a while. */
  get isAsked(): boolean {
    return this.#phase === 'request'
  }

  /**
   * Takes bytes of the origin, cut anywhere; they must stay as they are until `poll` gave undefined.
   * @throws RtmpError when the handshake is not one
   */
  receive(bytes: Uint8Array): void {
    if (this.#phase === 'over') return
    this.#link.receive(bytes)
    if (this.#phase === 'handshake' && this.#link.isOpen) this.#sendConnect()
  }

  /**
   * The next output; call it after every other call until it gives undefined, or `ready`.
   * @throws RtmpError when the origin broke the protocol or a limit; the connection is then to be closed
   */
  poll(): ClientDialogueOutput | undefined {
    while (this.#events.length === 0) {
      const message = this.#link.next()
      if (message === undefined) break
      this.#take(message)
    }
    this.#checkProgress()
    const bytes = this.#link.takeOutgoing()
    return bytes === undefined ? this.#events.shift() : { kind: 'send', bytes }
  }

  /** Writes a message to the origin. @throws RTMP_MESSAGE_UNWRITABLE */
  write(message: RtmpMessage): void {
    this.#link.send(message)
  }

  /** Ends the dialogue where it is: all that came and was not read, for a relay. */
  detach(): DetachedLink {
    this.#phase = 'over'
    return this.#link.detach(this.#streamId)
  }

  #sendConnect(): void {
    this.#phase = 'connect'
    this.#link.announceChunkSize()
    this.write(windowAcknowledgementSizeMessage(WINDOW_BYTES))
    this.write(rawCommandMessage('connect', TransactionId.connect, this.#request.connect.argumentBytes, 0))
  }

  #take(message: RtmpMessage): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'ready') {
      this.#events.push({ kind: 'message', message })
      return
    }
    const command = isCommand(message) ? decodeCommand(message, 'origin') : undefined
    const answered = command === undefined ? undefined : this.#answeredCall(command)
    if (answered === undefined && this.#phase === 'request') this.#replies.push(message)
    if (command !== undefined && isRefusal(command, answered)) this.#refused(command)
    else if (answered === 'connect') this.#sendCreateStream()
    else if (answered === 'createStream') this.#sendRequest(command?.args[1])
    else if (this.#phase === 'request' && this.#isYes(message, command)) this.#ready()
  }

  /** Which of our own calls the command answers. Those that may fail are named too, and not minded. */
  #answeredCall(command: Command): OwnCall | undefined {
    if (command.name !== '_result' && command.name !== '_error') return undefined
    const { transactionId } = command
    if (transactionId === TransactionId.connect && this.#phase === 'connect') return 'connect'
    if (transactionId === TransactionId.createStream && this.#phase === 'createStream') return 'createStream'
    const isMinor = transactionId === TransactionId.releaseStream || transactionId === TransactionId.fcPublish
    return isMinor ? 'minor' : undefined
  }

  #sendCreateStream(): void {
    this.#phase = 'createStream'
    const { action, streamName } = this.#request
    if (action === 'publish') {
      this.#call('releaseStream', TransactionId.releaseStream, null, streamName)
      this.#call('FCPublish', TransactionId.fcPublish, null, streamName)
    }
    this.#call('createStream', TransactionId.createStream, null)
  }

  #sendRequest(streamId: Amf0Value): void {
    if (
      typeof streamId !== 'number' ||
      !Number.isInteger(streamId) ||
      streamId < 0 ||
      streamId > 0xffffffff
    ) {
      throw new RtmpError(RtmpErrorCode.commandInvalid, 'createStream answered without a stream id', {
        side: 'origin',
      })
    }
    this.#phase = 'request'
    this.#streamId = streamId
    const { bufferLengthMs, command } = this.#request
    if (bufferLengthMs !== undefined) {
      const data = Buffer.alloc(8)
      data.writeUInt32BE(streamId)
      data.writeUInt32BE(bufferLengthMs, 4)
      this.write(userControlMessage(UserControlEvent.setBufferLength, data))
    }
    this.write(rawCommandMessage(command.name, command.transactionId, command.argumentBytes, streamId))
  }

  #call(name: string, transactionId: number, ...args: readonly Amf0Value[]): void {
    this.write(commandMessage({ name, transactionId, args }))
  }

  /** A status that starts the stream, or, as some servers send none, the stream itself. */
  #isYes(message: RtmpMessage, command: Command | undefined): boolean {
    if (command === undefined) return mediaTypes.has(message.type)
    const code = amf0Text(command.args[1], 'code')
    return (
      command.name === 'onStatus' && (code === 'NetStream.Publish.Start' || code === 'NetStream.Play.Start')
    )
  }

  #ready(): void {
    this.#phase = 'ready'
    this.#events.push({ kind: 'ready', streamId: this.#streamId, messages: this.#replies })
  }

  #refused(command: Command): void {
    const info = command.args[1]
    const refusal: Refusal = {
      code: amf0Text(info, 'code') ?? 'NetConnection.Call.Failed',
      description: amf0Text(info, 'description') ?? `${command.name} of the origin`,
      redirect: redirectOf(info),
      streamId: this.#streamId,
      messages: this.#phase === 'request' ? this.#replies : [],
    }
    this.#phase = 'over'
    this.#events.push({ kind: 'refused', refusal })
  }

  #checkProgress(): void {
    const { maxDialogueBytes } = this.#limits
    if (this.#phase === 'ready' || this.#phase === 'over' || this.#link.bytesReceived <= maxDialogueBytes)
      return
    throw new RtmpError(RtmpErrorCode.commandInvalid, `no status within ${maxDialogueBytes} bytes`, {
      side: 'origin',
    })
  }
}

/** Far from those that clients use, so that a late answer to one of ours is not taken for one of theirs. */
const TransactionId = { connect: 1, releaseStream: 1001, fcPublish: 1002, createStream: 1003 } as const
type OwnCall = 'connect' | 'createStream' | 'minor'

const mediaTypes: ReadonlySet<number> = new Set([
  MessageType.audio,
  MessageType.video,
  MessageType.data,
  MessageType.dataAmf3,
  MessageType.aggregate,
])

function isRefusal(command: Command, answered: OwnCall | undefined): boolean {
  if (answered === 'minor') return false
  if (command.name === '_error' || command.name === 'close') return true
  const isStatus = command.name === 'onStatus' || answered === 'connect'
  return isStatus && amf0Text(command.args[1], 'level') === 'error'
}

/** SRS and FMS put it at `ex.redirect`; SRS adds `ex.redirect2`, which is the full URL with the stream. */
function redirectOf(info: Amf0Value): string | undefined {
  const ex = amf0Property(info, 'ex')
  return amf0Property(ex, 'code') === 302 ? amf0Text(ex, 'redirect') : undefined
}
