import type { Socket } from 'node:net'

/** A dialogue as it is driven: bytes in, outputs out. */
interface Dialogue<Output extends { readonly kind: string }> {
  receive(bytes: Uint8Array): void
  poll(): Output | Send | undefined
  /** While true the peer is not read from. */
  readonly isFull?: boolean
}

interface Send {
  readonly kind: 'send'
  readonly bytes: Buffer
}

/** What happens on a connection while its dialogue runs. */
interface DialogueHandlers<Output> {
  onOutput(output: Output): void
  /** The peer has ended or broken the connection (no error), or broke the protocol. Called once, then nothing. */
  onEnd(error?: unknown): void
}

/** Feeds a dialogue from a socket and writes what it says, until `stop`. */
export class DialogueSocket<Output extends { readonly kind: string }> {
  readonly socket: Socket
  readonly #dialogue: Dialogue<Output>
  readonly #handlers: DialogueHandlers<Output>
  #isStopped = false

  constructor(socket: Socket, dialogue: Dialogue<Output>, handlers: DialogueHandlers<Output>) {
    this.socket = socket
    this.#dialogue = dialogue
    this.#handlers = handlers
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onEnd)
    socket.on('close', this.#onEnd)
  }

  /** Writes what the dialogue has to say. */
  flush(): void {
    if (this.#isStopped) return
    try {
      this.#drain()
      if (this.#dialogue.isFull === true) this.socket.pause()
    } catch (error) {
      this.#finish(error)
    }
  }

  /** Leaves the socket alone, paused; its errors go nowhere until somebody else listens. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.socket.pause()
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onEnd)
    this.socket.off('error', this.#onEnd)
    this.socket.off('close', this.#onEnd)
    this.socket.on('error', ignore)
  }

  #drain(): void {
    for (let out = this.#dialogue.poll(); out !== undefined; out = this.#dialogue.poll()) {
      if (isSend(out)) this.socket.write(out.bytes)
      else this.#handlers.onOutput(out)
      if (this.#isStopped) return
    }
  }

  readonly #onData = (bytes: Buffer): void => {
    try {
      this.#dialogue.receive(bytes)
    } catch (error) {
      this.#finish(error)
      return
    }
    this.flush()
  }

  readonly #onEnd = (): void => this.#finish()

  #finish(error?: unknown): void {
    if (this.#isStopped) return
    this.stop()
    this.#handlers.onEnd(error)
  }
}

function isSend(output: { readonly kind: string }): output is Send {
  return output.kind === 'send'
}

function ignore(): void {}
