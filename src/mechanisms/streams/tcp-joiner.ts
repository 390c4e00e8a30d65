/** One of two sockets that are joined. */
export interface TcpSide {
  /** It stays the caller's, who keeps it open but neither reads nor writes. */
  readonly descriptor: number
  /** Whether its end was read and passed on already. */
  readonly isEnded: boolean
}

/**
 * Moves the bytes between two plain TCP sockets in place of JavaScript: with backpressure, each end passed on to the other side
 * after all that came before it.
 */
export interface TcpJoiner {
  /** None when it has as many joins as it can bear, or the system refused. */
  join(first: TcpSide, second: TcpSide, listener: TcpJoinListener): TcpJoin | undefined
}

/** Told in a later turn, and never after `destroy`. */
export interface TcpJoinListener {
  /** The side has ended, and the other was told. After both have, the join is over. */
  onTcpEnded(side: 'first' | 'second'): void
  /** The side cannot be read or written any more; the join is over. Neither socket has been closed. */
  onTcpBroken(side: 'first' | 'second', error: Error): void
}

/** A join that was handed over. */
export interface TcpJoin {
  /** Bytes that the second socket has taken from the first, since it was handed over. */
  readonly bytesFromFirst: number
  readonly bytesFromSecond: number
  /** Forgets both sockets now. */
  destroy(): void
}
