import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** What a relay loses. */
export interface LossyRelayOptions {
  /** Where its datagrams go on, on 127.0.0.1. */
  readonly toPort: number
  /** Share of datagrams that are lost, in either direction, from 0 to 1. */
  readonly loss: number
}

/** A UDP relay that loses datagrams, the same ones in every run as far as they come in the same order. */
export class LossyRelay implements AsyncDisposable {
  readonly port: number
  passed = 0
  lost = 0
  readonly #front: Socket
  readonly #options: LossyRelayOptions
  readonly #backs = new Map<number, Socket>()
  #state = 1

  static async start(options: LossyRelayOptions): Promise<LossyRelay> {
    const front = createSocket('udp4')
    front.bind(0, '127.0.0.1')
    await once(front, 'listening')
    return new LossyRelay(front, options)
  }

  private constructor(front: Socket, options: LossyRelayOptions) {
    this.#front = front
    this.#options = options
    this.port = front.address().port
    front.on('message', (bytes, { port }) => {
      if (this.#passes()) this.#backFor(port).send(bytes, options.toPort, '127.0.0.1')
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const sockets = [this.#front, ...this.#backs.values()]
    await Promise.all(
      sockets.map(async (socket) => {
        const closed = once(socket, 'close')
        socket.close()
        await closed
      }),
    )
  }

  #backFor(clientPort: number): Socket {
    let back = this.#backs.get(clientPort)
    if (back === undefined) {
      back = createSocket('udp4')
      back.on('message', (bytes) => {
        if (this.#passes()) this.#front.send(bytes, clientPort, '127.0.0.1')
      })
      this.#backs.set(clientPort, back)
    }
    return back
  }

  #passes(): boolean {
    // Numerical Recipes' generator; good enough to lose packets by.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    const isPassed = this.#state / 2 ** 32 >= this.#options.loss
    if (isPassed) this.passed++
    else this.lost++
    return isPassed
  }
}
