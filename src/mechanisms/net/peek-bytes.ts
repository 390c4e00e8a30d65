import type { Socket } from 'node:net'
import { type Clock, systemClock } from '../../foundation/clock.ts'

/** How long to wait for the first bytes. */
export interface PeekOptions {
  readonly timeoutMs: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/**
 * The next `count` bytes of a socket that nobody reads yet, plain or TLS; they stay in it for who reads next. Fewer when
 * the peer ends its side before. Undefined when the connection closes or the time is over; it is not closed for that.
 */
export function peekBytes(
  socket: Socket,
  count: number,
  options: PeekOptions,
): Promise<Uint8Array | undefined> {
  const { timeoutMs, clock = systemClock } = options
  return new Promise((resolve) => {
    const settle = (bytes: Uint8Array | undefined): void => {
      timer.cancel()
      socket.off('readable', onReadable)
      socket.off('end', onEnd)
      socket.off('close', onClose)
      resolve(bytes)
    }
    const onReadable = (): void => {
      // Asking for more than is there gives nothing until it comes, or what is left at the end. Otherwise all is taken
      // and put back in one piece, so that who reads next gets pieces as they came.
      const bytes: unknown = socket.readableLength < count ? socket.read(count) : socket.read()
      if (!(bytes instanceof Uint8Array)) return
      socket.unshift(bytes)
      settle(bytes.subarray(0, count))
    }
    const onEnd = (): void => settle(new Uint8Array(0))
    const onClose = (): void => settle(undefined)
    const timer = clock.after(timeoutMs, onClose)
    if (socket.destroyed) {
      onClose()
      return
    }
    socket.on('readable', onReadable)
    socket.on('end', onEnd)
    socket.on('close', onClose)
  })
}
