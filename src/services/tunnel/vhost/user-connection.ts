import type { Duplex } from 'node:stream'
import type { Clock } from '../../../foundation/clock.ts'
import type { UserAddress } from '../server/backend.ts'
import { BackendAgent } from './backend-agent.ts'
import { type Http1Backends, Http2Backends } from './http2-backends.ts'

/** One connection of a user, with the connections to backends that serve it alone. */
export class UserConnection {
  readonly socket: Duplex
  readonly address: UserAddress
  /** Requests that have no complete answer yet, and what is carried raw. */
  busy = 0
  readonly #clock: Clock
  readonly #http1: Http1Backends
  #agent: BackendAgent | undefined
  #http2: Http2Backends | undefined

  constructor(socket: Duplex, address: UserAddress, http1: Http1Backends, clock: Clock) {
    this.socket = socket
    this.address = address
    this.#http1 = http1
    this.#clock = clock
    socket.once('close', () => {
      this.#agent?.destroy()
      this.#http2?.destroy()
    })
  }

  get agent(): BackendAgent {
    this.#agent ??= new BackendAgent(this.address, this.#clock)
    return this.#agent
  }

  get http2(): Http2Backends {
    this.#http2 ??= new Http2Backends(this.address, this.#http1, this.#clock)
    return this.#http2
  }
}
