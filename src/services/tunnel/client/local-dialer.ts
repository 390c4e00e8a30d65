import type { Socket } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import { socketStream } from '../../../mechanisms/streams/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'

/** A service of the client's side. */
export interface LocalService {
  /** An address or a name. */
  readonly host: string
  readonly port: number
}

/** Connects to a local service. Rejects when there is none. */
export type DialLocal = (service: LocalService) => Promise<ByteStream>

const dialMs = 10_000

/** Connects by TCP, within 10 s. */
export class LocalDialer {
  readonly #clock: Clock
  readonly #dial: Dial
  readonly #dialling = new Set<Socket>()

  constructor(clock: Clock, dial: Dial = dialTcp) {
    this.#clock = clock
    this.#dial = dial
  }

  readonly connect: DialLocal = (service) =>
    new Promise((resolve, reject) => {
      const socket = this.#dial({ ...service, noDelay: true, allowHalfOpen: true })
      this.#dialling.add(socket)
      const timer = this.#clock.after(dialMs, () =>
        socket.destroy(failure(`no answer within ${dialMs / 1000} s`)),
      )
      const finish = (): void => {
        timer.cancel()
        this.#dialling.delete(socket)
        socket.off('error', onError)
      }
      const onError = (error: Error): void => {
        finish()
        reject(error)
      }
      socket.once('error', onError)
      socket.once('connect', () => {
        finish()
        resolve(socketStream(socket))
      })
    })

  /** Breaks off what is under way. */
  close(): void {
    for (const socket of this.#dialling) socket.destroy(failure('the client was closed'))
  }
}

function failure(message: string): TunnelError {
  return new TunnelError(TunnelErrorCode.timeout, message, { side: 'origin', retryable: true })
}
