import type { ByteSink } from '../../foundation/byte-stream.ts'

/** Of a stream that nobody reads yet. */
export const noSink: ByteSink = {
  onBytes: () => true,
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
}
