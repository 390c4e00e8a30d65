/**
 * A two-way stream of bytes whose sides end one by one: a TCP or TLS socket, a WebSocket, a stream within a yamux session,
 * or a layer upon one of them. Node's own streams say the same with several times the work per chunk.
 *
 * A stream begins paused and without a sink; nothing is lost before it has one. Its calls do not throw, and it never calls
 * `onClose` within a call to itself.
 */
export interface ByteStream {
  /**
   * Whoever reads from now on, in place of the sink before; reading itself begins with `resume`. The sink of a stream that
   * has closed already is told so, soon.
   */
  attach(sink: ByteSink): void
  /** No `onBytes` and no `onEnd` until `resume`. */
  pause(): void
  /** May call `onBytes` at once, with what was put back or had arrived. */
  resume(): void
  /** Puts back bytes that the sink was given, while the stream is paused; they are read again first, and copied here. */
  unread(bytes: Uint8Array): void
  /**
   * Sends bytes. `true`: they have been taken, and their memory is the caller's again. `false`: the stream keeps the memory
   * until its sink's `onDrain`, and nothing more should be written until then; what is written nevertheless is sent too, but
   * counts against the writer's bounds. After `end`, or on a stream that has closed, bytes are dropped and the answer is `true`.
   */
  write(bytes: Uint8Array): boolean
  /** Ends this side, after all that was written. The other side may go on. */
  end(): void
  /**
   * Ends both sides now; what has not left yet is lost. With an error the peer sees a reset, where the transport has one;
   * `onClose` is given the same error.
   */
  destroy(error?: Error): void
}

/** Who reads a `ByteStream`. Calls must not throw. */
export interface ByteSink {
  /**
   * Bytes arrived. `true`: they have been dealt with, and their memory is used again. `false`: the sink keeps the memory;
   * when it has also paused the stream, until `resume`, otherwise for good.
   */
  onBytes(bytes: Uint8Array): boolean
  /** The peer has ended its side; no bytes after it. */
  onEnd(): void
  /** All that `write` kept has gone. */
  onDrain(): void
  /** Both sides are over; called once, and nothing after it. With the reason, unless both ended in order. */
  onClose(error?: Error): void
}
