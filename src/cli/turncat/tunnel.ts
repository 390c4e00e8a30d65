import type { TurncatError } from './errors.ts'

/** A way to the peer, with an allocation of its own. */
export interface Tunnel {
  /** How many bytes of a stream make one datagram; undefined when the peer is sent a stream. */
  readonly pieceBytes: number | undefined
  /** Opens it, in the background. */
  open(): void
  /** Sends to the peer. False when there is enough in the way: wait for `onReady`. Copies what it keeps. */
  send(bytes: Uint8Array): boolean
  /** Whether all that was given to `send` is on its way. */
  readonly isDrained: boolean
  /** Stops the peer, where it can be stopped, until `resume`. */
  pause(): void
  resume(): void
  /** Tells a stream peer that it gets no more, once it is there; servers may take that for the end of both directions. */
  endSending(): void
  /**
   * Gives the allocation back, also of a tunnel that has failed; resolves when the server has said so, or has not for a second.
   * May be called twice.
   */
  close(): Promise<void>
}

/** What a tunnel tells. */
export interface TunnelHandlers {
  /** From the peer; valid during the call. */
  readonly onData: (bytes: Uint8Array) => void
  /** `send` is of use again, or for the first time. */
  readonly onReady: () => void
  /** Once: it failed, or the peer has ended its stream (undefined). Either way it is to be closed; it tells no more. */
  readonly onEnd: (error: TurncatError | undefined) => void
}
