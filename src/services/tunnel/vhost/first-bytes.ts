import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'

export interface FirstBytesOptions {
  readonly maxBytes: number
  readonly timeoutMs: number
  readonly clock: Clock
}

/** What came of it; `bytes` are all that were read. */
export type FirstBytes<T> =
  | { readonly kind: 'read'; readonly value: T; readonly bytes: Uint8Array }
  | { readonly kind: 'too-long' | 'overdue' | 'closed' }

/**
 * Reads from a stream that nobody reads yet until `read` makes something of all bytes so far. The stream is paused then, for
 * who reads next; it is destroyed by nobody.
 */
export function readFirstBytes<T>(
  stream: ByteStream,
  options: FirstBytesOptions,
  read: (bytes: Buffer) => T | undefined,
): Promise<FirstBytes<T>> {
  return new Promise((resolve) => {
    let held: Buffer = Buffer.alloc(0)
    let isSettled = false
    const settle = (outcome: FirstBytes<T>): void => {
      if (isSettled) return
      isSettled = true
      timer.cancel()
      stream.pause()
      resolve(outcome)
    }
    const timer = options.clock.after(options.timeoutMs, () => settle({ kind: 'overdue' }))
    stream.attach({
      onBytes(bytes) {
        held = Buffer.concat([held, bytes])
        // Held bytes of a stream may come in one go after the pause.
        if (isSettled) return true
        const value = read(held)
        if (value !== undefined) settle({ kind: 'read', value, bytes: held })
        else if (held.length >= options.maxBytes) settle({ kind: 'too-long' })
        return true
      },
      onEnd: () => settle({ kind: 'closed' }),
      onDrain: () => undefined,
      onClose: () => settle({ kind: 'closed' }),
    })
    stream.resume()
  })
}

/** How long a peer has to close its side after the last word. */
const LAST_WORD_MS = 5000

/** Says something, and ends the connection: when the peer ends it too, or some seconds later. */
export function sayLast(stream: ByteStream, bytes: Uint8Array, clock: Clock): void {
  const timer = clock.after(LAST_WORD_MS, () => stream.destroy())
  stream.attach({
    onBytes: () => true,
    onEnd: () => undefined,
    onDrain: () => undefined,
    onClose: () => timer.cancel(),
  })
  stream.write(bytes)
  stream.end()
  // What still comes is read and dropped: unread bytes would make of the end a reset, which can overtake the words.
  stream.resume()
}
