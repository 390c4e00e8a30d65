import type { Side } from '../../foundation/errors.ts'
import type { YamuxLimits } from './options.ts'
import type { Outbox } from './outbox.ts'
import type { WindowPool } from './receive-window.ts'
import type { SendTurns } from './send-turns.ts'

/** What the sending half of a stream needs of its session. */
export interface SendHost {
  readonly limits: YamuxLimits
  readonly outbox: Outbox
  readonly turns: SendTurns
  /** Asks for a turn of the session, soon. */
  soon(): void
}

/** What a stream needs of its session. */
export interface StreamHost<Stream> extends SendHost {
  readonly pool: WindowPool
  /** Whose fault a wrong frame is. */
  readonly peerSide: Side
  /** The stream's window is to be looked at in the next turn. */
  settleSoon(stream: Stream): void
  /** `tellClosed` is to be called in the next turn. */
  closeSoon(stream: Stream): void
  /** So many bytes more, or less, now wait for the stream's reader. */
  kept(stream: Stream, bytes: number): void
  /** Somebody reads a stream of the peer. */
  accepted(stream: Stream): void
  /** No frame of the stream means anything any more. */
  retire(stream: Stream): void
  /** Nobody reads the stream any more, but the peer has not ended its side. */
  linger(stream: Stream): void
}
