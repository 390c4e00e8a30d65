import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { flvTagOf, messageOf } from '../../../protocols/flv/index.ts'
import type { FlvTag } from '../../../protocols/flv/index.ts'
import { decodeCommand, isCommand, ServerDialogue } from '../../../protocols/rtmp/index.ts'
import type { RtmpMessage, ServerDialogueOutput, StreamRequest } from '../../../protocols/rtmp/index.ts'
import { streamName } from '../stream-name.ts'
import type { StreamName } from '../stream-name.ts'
import type { LiveStream, Player } from './live-stream.ts'
import type { LiveStreams } from './live-streams.ts'

export interface RtmpSessionOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly streams: LiveStreams
  /** From the connection to `publish` or `play`, in milliseconds; a slower client is cut. */
  readonly dialogueTimeoutMs: number
  /** Without a byte in either direction for so long the connection is cut, in milliseconds. */
  readonly idleTimeoutMs: number
  /** How long `play` of a stream that is not published waits for it, in milliseconds. */
  readonly playWaitMs: number
}

/**
 * One RTMP connection, publisher or player. A player of a stream that nobody publishes is accepted and waits a while,
 * as with SRS, before it is told `NetStream.Play.StreamNotFound`; when the publisher leaves, its players are
 * disconnected.
 */
export class RtmpSession {
  readonly #socket: Socket
  readonly #options: RtmpSessionOptions
  readonly #dialogue = new ServerDialogue({ random: randomBytes })
  #dialogueTimer: Timer | undefined
  #published: LiveStream | undefined
  #release: () => void = () => undefined

  constructor(socket: Socket, options: RtmpSessionOptions) {
    this.#socket = socket
    this.#options = options
  }

  /** Serves the client until the connection ends, and then calls `ended`. */
  start(ended: () => void): void {
    const socket = this.#socket
    const { clock, dialogueTimeoutMs, idleTimeoutMs } = this.#options
    this.#dialogueTimer = clock.after(dialogueTimeoutMs, () => socket.destroy())
    socket.setNoDelay(true)
    socket.setTimeout(idleTimeoutMs, () => socket.destroy())
    socket.on('data', (bytes) => this.#run(() => this.#dialogue.receive(bytes)))
    // Why it broke does not matter: 'close' follows.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.destroy()
      ended()
    })
  }

  /** Cuts the connection and lets go of all it holds. */
  destroy(): void {
    this.#dialogueTimer?.cancel()
    this.#release()
    this.#socket.destroy()
  }

  /** Feeds the dialogue and carries out what comes of it; whatever goes wrong is the client's and ends only it. */
  #run(step: () => void): void {
    try {
      step()
      for (let output = this.#dialogue.poll(); output !== undefined; output = this.#dialogue.poll()) {
        this.#apply(output)
      }
    } catch (error) {
      this.#options.log.debug({ code: errorCode(error) }, 'demo rtmp connection ended')
      this.destroy()
      return
    }
    if (this.#dialogue.isFull) this.#socket.pause()
    else if (this.#socket.isPaused()) this.#socket.resume()
  }

  #apply(output: ServerDialogueOutput): void {
    if (output.kind === 'send') this.#send(output.bytes)
    else if (output.kind === 'identified') this.#begin(output.request)
    else this.#take(output.message)
  }

  #send(bytes: Buffer): void {
    this.#socket.write(bytes)
    // A publisher is only sent answers, and one who asks on and on without reading them would fill the memory.
    if (this.#published !== undefined && this.#socket.writableLength > MAX_ANSWER_BYTES)
      this.#socket.destroy()
  }

  #begin(request: StreamRequest): void {
    this.#dialogueTimer?.cancel()
    const name = nameOf(request)
    if (request.action === 'publish') {
      this.#publish(name)
      return
    }
    this.#dialogue.accept()
    this.#release = this.#options.streams.awaitStream(name, this.#options.playWaitMs, (stream) => {
      // Found at once or later: in both cases after this turn, outside of the dialogue's own poll.
      queueMicrotask(() => this.#run(() => this.#play(stream, request.streamId)))
    })
  }

  #publish(name: StreamName): void {
    const { streams } = this.#options
    if (streams.get(name) !== undefined) {
      this.#refuse('NetStream.Publish.BadName', 'Stream already publishing.')
      return
    }
    const stream = streams.publish(name)
    this.#published = stream
    this.#release = () => streams.unpublish(name, stream)
    this.#dialogue.accept()
  }

  #play(stream: LiveStream | undefined, streamId: number): void {
    if (this.#socket.destroyed) return
    if (stream === undefined) {
      this.#refuse('NetStream.Play.StreamNotFound', 'Nobody publishes this stream.')
      return
    }
    this.#release = stream.join(this.#player(streamId))
  }

  #player(streamId: number): Player {
    const socket = this.#socket
    return {
      get queuedBytes() {
        return socket.writableLength
      },
      send: (tag: FlvTag) => {
        const message = messageOf(tag, streamId)
        if (message !== undefined) this.#run(() => this.#dialogue.write(message))
      },
      end: (reason) => {
        if (reason === 'unpublished') socket.end()
        else socket.destroy()
      },
    }
  }

  #take(message: RtmpMessage): void {
    const tag = this.#published === undefined ? undefined : flvTagOf(message)
    if (tag !== undefined) this.#published?.publish(tag)
    else if (isCommand(message) && endings.has(decodeCommand(message, 'client').name)) {
      this.#release()
      this.#socket.end()
    }
  }

  #refuse(code: string, description: string): void {
    this.#dialogue.refuse(code, description)
    // The status goes out with the poll that follows; then the connection may go.
    setImmediate(() => this.#socket.end())
  }
}

const MAX_ANSWER_BYTES = 64 * 1024

const endings: ReadonlySet<string> = new Set(['deleteStream', 'closeStream', 'FCUnpublish'])

/** `live` and `s` of `rtmp://host/live` and `s?token=x`. @throws DemoError `DEMO_STREAM_NAME_INVALID` */
function nameOf({ app, streamName: text }: StreamRequest): StreamName {
  const [appPath = ''] = app.split('?')
  const [stream = ''] = text.split('?')
  return streamName(appPath.replace(/^\/+|\/+$/g, ''), stream)
}
