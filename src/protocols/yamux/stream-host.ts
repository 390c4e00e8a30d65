import type { Side } from '../../foundation/errors.ts'
import type { YamuxLimits } from './options.ts'
import type { Outbox } from './outbox.ts'
import type { WindowPool } from './receive-window.ts'
import type { SendTurns } from './send-turns.ts'
import type { YamuxStream } from './stream.ts'

/** What a stream needs of its session. */
export interface StreamHost {
  readonly limits: YamuxLimits
  readonly outbox: Outbox
  readonly turns: SendTurns
  readonly pool: WindowPool
  /** Whose fault a wrong frame is. */
  readonly peerSide: Side
  /** Asks for a turn of the session, soon. */
  soon(): void
  /** The stream's window is to be looked at in that turn. */
  settleSoon(stream: YamuxStream): void
  /** `tellClosed` is to be called in that turn. */
  closeSoon(stream: YamuxStream): void
  /** So many bytes more, or less, now wait for the stream's reader. */
  kept(stream: YamuxStream, bytes: number): void
  /** Somebody reads a stream of the peer. */
  accepted(stream: YamuxStream): void
  /** No frame of the stream means anything any more. */
  retire(stream: YamuxStream): void
  /** Nobody reads the stream any more, but the peer has not ended its side. */
  linger(stream: YamuxStream): void
}
