import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { MessageChannel } from '../message-channel.ts'

/** A peer that was refused has so many milliseconds to close its side. */
const lingerMs = 1000

/**
 * Ends a channel on which a peer has been told its last message. Nothing that it says now is heard, and if it does not close
 * in answer, its stream is cut.
 */
export function dismiss(
  channel: MessageChannel,
  stream: ByteStream,
  clock: Clock,
  onGone: () => void = nothing,
): void {
  if (channel.isOver) {
    stream.destroy()
    onGone()
    return
  }
  const timer = clock.after(lingerMs, () => stream.destroy())
  channel.onMessage = nothing
  channel.onClose = () => {
    timer.cancel()
    onGone()
  }
  channel.end()
  // Only who reads sees the peer's end.
  channel.resume()
}

function nothing(): void {}
