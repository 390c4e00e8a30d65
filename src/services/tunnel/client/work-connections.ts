import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { StartWorkConn } from '../../../protocols/frp/index.ts'
import type { MessageChannel } from '../message-channel.ts'
import type { QuietLog } from './quiet-log.ts'

export interface WorkConnectionsOptions {
  /** Opens a connection and sends NewWorkConn. */
  readonly open: () => Promise<MessageChannel>
  /** One has been given to a proxy; the stream is paused. */
  readonly onStart: (work: ByteStream, start: StartWorkConn) => void
  readonly log: QuietLog
}

/** Connections that are being opened at a time; further requests wait their turn. */
const maxOpening = 64
/** Connections that are opened or wait to be given to a proxy: more than any server's pool holds. */
const maxWaiting = 1024
/** Requests that wait their turn; what is over it is left out, and the server asks again for its next user. */
const maxRequests = 4096

/** The work connections of a session until they are given to a proxy (reference §8). */
export class WorkConnections {
  readonly #options: WorkConnectionsOptions
  readonly #waiting = new Set<MessageChannel>()
  #opening = 0
  #requests = 0
  #isClosed = false

  constructor(options: WorkConnectionsOptions) {
    this.#options = options
  }

  /** The server wants one more. */
  request(): void {
    if (this.#isClosed) return
    if (this.#requests >= maxRequests) {
      this.#options.log.note({ requests: this.#requests }, 'too many requests for work connections')
      return
    }
    this.#requests++
    this.#openNext()
  }

  /** Ends those that wait; what has been given to a proxy goes on. */
  close(): void {
    this.#isClosed = true
    this.#requests = 0
    for (const channel of this.#waiting) channel.destroy()
    this.#waiting.clear()
  }

  #openNext(): void {
    while (
      this.#requests > 0 &&
      this.#opening < maxOpening &&
      this.#opening + this.#waiting.size < maxWaiting
    ) {
      this.#requests--
      this.#opening++
      void this.#open()
    }
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    try {
      const channel = await this.#options.open()
      if (this.#isClosed) channel.destroy()
      else this.#await(channel)
    } catch (error) {
      this.#options.log.note({ error: errorMessage(error) }, 'start new connection to server error')
    }
    this.#opening--
    this.#openNext()
  }

  #await(channel: MessageChannel): void {
    const { log, onStart } = this.#options
    this.#waiting.add(channel)
    channel.onClose = () => this.#leave(channel)
    channel.onMessage = (message) => {
      if (message.name !== 'StartWorkConn') {
        channel.destroy()
        return
      }
      if (message.body.error !== '') {
        // Not worth a line each: a server says so to all that it has too many of.
        log.note({ error: message.body.error }, 'StartWorkConn contains error')
        channel.destroy()
        return
      }
      const work = channel.detach()
      this.#leave(channel)
      onStart(work, message.body)
    }
    channel.resume()
  }

  #leave(channel: MessageChannel): void {
    if (this.#waiting.delete(channel)) this.#openNext()
  }
}
