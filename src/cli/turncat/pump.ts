import type { Readable, Writable } from 'node:stream'
import type { Clock, Timer } from '../../foundation/clock.ts'
import type { TurncatError } from './errors.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** A local stream and the tunnel it goes through. */
export interface PumpOptions {
  readonly source: Readable
  readonly sink: Writable
  readonly makeTunnel: (handlers: TunnelHandlers) => Tunnel
  /**
   * After the source has ended, how long the peer must have been silent, in milliseconds. Then it is over; a stream peer is
   * told the end and has `lingerMs` of silence to close, since what is still on its way to it ends with the allocation.
   */
  readonly waitMs: number
  /** @defaultValue 30,000 */
  readonly lingerMs?: number
  readonly clock: Clock
  /** Ends it, as if the source had. */
  readonly signal: AbortSignal
}

/**
 * Moves a local stream through a tunnel of its own, until either side has ended. A datagram peer gets the stream in pieces;
 * what it sends is dropped while the sink holds a megabyte that nobody takes.
 *
 * @throws TurncatError when the tunnel fails
 */
export async function pump(options: PumpOptions): Promise<void> {
  const { source, sink, makeTunnel, waitMs, lingerMs = 30_000, clock, signal } = options
  let finish: (error: TurncatError | undefined) => void = () => undefined
  const finished = new Promise<TurncatError | undefined>((resolve) => {
    finish = resolve
  })
  let quiet: Timer | undefined
  let hasEnded = false
  let isSinkFull = false
  let isLingering = false
  const onQuiet = (): void => {
    if (isLingering || tunnel.pieceBytes !== undefined) {
      finish(undefined)
      return
    }
    isLingering = true
    tunnel.endSending()
    waitForQuiet()
  }
  const waitForQuiet = (): void => {
    quiet?.cancel()
    // Then it is the sink that is slow, not the peer that is silent.
    if (!isSinkFull) quiet = clock.after(isLingering ? lingerMs : waitMs, onQuiet)
  }

  const tunnel = makeTunnel({
    onData(bytes) {
      const isDatagram = tunnel.pieceBytes !== undefined
      if (isDatagram && sink.writableLength > maxHeldBytes) return
      // The sink may keep it for longer than the call.
      if (!sink.write(Uint8Array.from(bytes)) && !isDatagram) {
        isSinkFull = true
        tunnel.pause()
      }
      if (hasEnded) waitForQuiet()
    },
    onReady() {
      source.resume()
      if (hasEnded && tunnel.isDrained) waitForQuiet()
    },
    // After our end the server may end as it likes.
    onEnd: (error) => finish(isLingering ? undefined : error),
  })
  const onChunk = (chunk: Uint8Array): void => {
    if (!sendPieces(tunnel, chunk)) source.pause()
  }
  const onSourceEnd = (): void => {
    hasEnded = true
    if (tunnel.isDrained) waitForQuiet()
  }
  const onDrain = (): void => {
    isSinkFull = false
    tunnel.resume()
    if (hasEnded && tunnel.isDrained) waitForQuiet()
  }
  const onOver = (): void => finish(undefined)

  source.on('data', onChunk).once('end', onSourceEnd).once('error', onOver)
  // The reader of a pipe went away: as good as an end.
  sink.on('drain', onDrain).once('error', onOver).once('close', onOver)
  signal.addEventListener('abort', onOver, { once: true })
  if (signal.aborted) onOver()
  tunnel.open()
  try {
    const error = await finished
    if (error !== undefined) throw error
  } finally {
    quiet?.cancel()
    source.off('data', onChunk).off('end', onSourceEnd).pause()
    sink.off('drain', onDrain).off('close', onOver)
    signal.removeEventListener('abort', onOver)
    await tunnel.close()
  }
}

/** What a sink may hold of datagrams. */
const maxHeldBytes = 1_048_576

function sendPieces(tunnel: Tunnel, chunk: Uint8Array): boolean {
  const size = tunnel.pieceBytes ?? chunk.length
  let isWritable = true
  for (let at = 0; at < chunk.length; at += size)
    isWritable = tunnel.send(chunk.subarray(at, at + size)) && isWritable
  return isWritable
}
