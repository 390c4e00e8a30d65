import type { Socket } from 'node:net'
import type { SluiceError } from '../../../foundation/errors.ts'
import {
  type DetachedLink,
  mapEventStream,
  MessageType,
  type Refusal,
  type RtmpMessage,
  ServerDialogue,
  type ServerDialogueOutput,
  type StreamRequest,
} from '../../../protocols/rtmp/index.ts'
import { DialogueSocket } from './dialogue-socket.ts'
import { rtmpServiceError } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { gone } from './origin-dialogue.ts'

/** The client's socket until its stream begins: what it wants, whether it is still there, and what it is told. */
export class ClientConnection {
  readonly #socket: Socket
  readonly #options: CompleteRtmpOptions
  readonly #dialogue: ServerDialogue
  readonly #link: DialogueSocket<Exclude<ServerDialogueOutput, { kind: 'send' }>>
  readonly #gone = new AbortController()
  #onIdentified: (request: StreamRequest) => void = () => {}

  constructor(socket: Socket, options: CompleteRtmpOptions) {
    this.#socket = socket
    this.#options = options
    this.#dialogue = new ServerDialogue(options)
    this.#link = new DialogueSocket(socket, this.#dialogue, {
      onOutput: (output) => {
        if (output.kind === 'identified') this.#onIdentified(output.request)
      },
      onEnd: (error) => this.destroy(error),
    })
  }

  /** Aborted when there is nobody left to serve; its reason says why. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  /** Resolves when the client has said what it wants. @throws RTMP_CLIENT_TIMEOUT, RTMP_CLIENT_GONE, RtmpError */
  async identify(): Promise<StreamRequest> {
    const { clock, identifyTimeoutMs } = this.#options
    const timer = clock.after(identifyTimeoutMs, () => this.destroy(timedOut(identifyTimeoutMs)))
    try {
      return await new Promise<StreamRequest>((resolve, reject) => {
        this.#onIdentified = resolve
        this.signal.addEventListener('abort', () => reject(reasonOf(this.signal)), { once: true })
        if (this.signal.aborted) reject(reasonOf(this.signal))
      })
    } finally {
      timer.cancel()
    }
  }

  /** Tells the client what an origin said, on the client's own message stream. */
  pass(messages: readonly RtmpMessage[], fromStreamId: number, toStreamId: number): void {
    for (const message of messages) this.#dialogue.write(onStream(message, fromStreamId, toStreamId))
    this.#link.flush()
  }

  /** Tells the client an origin's no, without naming addresses that are none of its business. */
  passRefusal(refusal: Refusal, toStreamId: number): void {
    if (refusal.messages.length === 0 || refusal.redirect !== undefined) {
      this.refuse(refusal.code, refusal.redirect === undefined ? refusal.description : 'redirected')
    } else {
      this.pass(refusal.messages, refusal.streamId, toStreamId)
      this.#endPolitely()
    }
  }

  /** Tells the client why not, and ends the connection. */
  refuse(code: string, description: string): void {
    if (this.signal.aborted) return
    this.#dialogue.refuse(code, description)
    this.#link.flush()
    this.#endPolitely()
  }

  /** Leaves the socket to a join. It is paused; its errors go nowhere until somebody else listens. */
  detach(): DetachedLink {
    this.#link.stop()
    return this.#dialogue.detach()
  }

  destroy(reason?: unknown): void {
    if (this.signal.aborted) return
    this.#link.stop()
    this.#gone.abort(reason ?? gone())
    this.#socket.destroy()
  }

  /** A socket that is closed with unread bytes in it resets, and the client may never read what it was told. */
  #endPolitely(): void {
    const socket = this.#socket
    this.#link.stop()
    const timer = this.#options.clock.after(this.#options.lingerMs, () => socket.destroy())
    socket.once('close', () => timer.cancel())
    socket.once('end', () => socket.destroySoon())
    socket.end()
    socket.resume()
  }
}

/** The message as the other connection names its stream; stream events name it in their payload too. */
function onStream(message: RtmpMessage, from: number, to: number): RtmpMessage {
  if (message.type === MessageType.userControl) {
    const payload = Buffer.from(message.payload)
    mapEventStream(payload, new Map([[from, to]]))
    return { ...message, payload }
  }
  return message.streamId === from ? { ...message, streamId: to } : message
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : gone()
}

function timedOut(afterMs: number): SluiceError {
  return rtmpServiceError('RTMP_CLIENT_TIMEOUT', `neither publish nor play within ${afterMs} ms`, {
    side: 'client',
    retryable: false,
  })
}
