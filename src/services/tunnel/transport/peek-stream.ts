import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'

/**
 * The next `count` bytes of a stream that nobody reads yet; they stay in it, and it is paused, for who reads next. Fewer
 * when the peer ends its side before. Undefined when the stream closes or the time is over; it is not destroyed for that.
 */
export function peekStream(
  stream: ByteStream,
  count: number,
  timeoutMs: number,
  clock: Clock,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let held = Buffer.alloc(0)
    let isSettled = false
    const settle = (bytes: Uint8Array | undefined): void => {
      if (isSettled) return
      isSettled = true
      timer.cancel()
      stream.pause()
      if (held.length > 0) stream.unread(held)
      resolve(bytes)
    }
    const timer = clock.after(timeoutMs, () => settle(undefined))
    stream.attach({
      onBytes(bytes) {
        held = Buffer.concat([held, bytes])
        if (held.length >= count) settle(held.subarray(0, count))
        return true
      },
      onEnd: () => settle(held),
      onDrain: () => undefined,
      onClose: () => settle(undefined),
    })
    stream.resume()
  })
}

/** Takes bytes off a stream that `peekStream` has shown. */
export function skipPeeked(stream: ByteStream, count: number): void {
  let isSkipped = false
  stream.attach({
    onBytes(bytes) {
      stream.pause()
      stream.unread(isSkipped ? bytes : bytes.subarray(count))
      isSkipped = true
      return true
    },
    onEnd: () => undefined,
    onDrain: () => undefined,
    onClose: () => undefined,
  })
  stream.resume()
}
