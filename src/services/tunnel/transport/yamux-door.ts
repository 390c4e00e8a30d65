import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { Mux } from '../../../mechanisms/streams/index.ts'
import { TunnelError } from '../errors.ts'
import type { AcceptedConnection, PeerInfo, Session } from './contract.ts'
import type { Stranger } from './strangers.ts'

export interface YamuxDoorOptions {
  /** 0 or less: none. */
  readonly keepaliveMs: number
  readonly clock: Clock
  readonly onConnection: (connection: AcceptedConnection) => void
}

/** A client opens one stream and logs in on it, before all others. */
const maxStrangersStreams = 4
/** Longer than the first message and the login upon it may take. */
const loginMs = 30_000

/** The server's side of yamux sessions, whose streams are connections in frp's sense. */
export class YamuxDoor {
  readonly #options: YamuxDoorOptions
  #refused = 0

  constructor(options: YamuxDoorOptions) {
    this.#options = options
  }

  /** Streams that were refused because their session had not logged in and had some already, ever. */
  get refused(): number {
    return this.#refused
  }

  /** Begins a session, which is cut when none of its streams is admitted in time. */
  enter(carrier: ByteStream, peer: PeerInfo, stranger: Stranger): void {
    const { clock, keepaliveMs, onConnection } = this.#options
    let deadline: Timer | undefined
    const admit = (): void => {
      deadline?.cancel()
      deadline = undefined
      stranger.remove()
    }
    const mux = new Mux(carrier, {
      role: 'server',
      keepaliveMs,
      clock,
      onStream: (stream) => {
        if (deadline !== undefined && mux.streamCount > maxStrangersStreams) {
          this.#refused++
          stream.destroy()
        } else {
          onConnection({ stream, peer, session, admit })
        }
      },
    })
    const session: Session = {
      destroy: (error) => mux.destroy(error),
      onClose: (callback) => mux.onClose(callback),
    }
    deadline = clock.after(loginMs, () =>
      mux.destroy(new TunnelError('TUNNEL_TIMEOUT', 'nobody logged in on the session', { side: 'client' })),
    )
    mux.onClose(() => deadline?.cancel())
  }
}
