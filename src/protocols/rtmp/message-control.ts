import type { Side } from '../../foundation/errors.ts'
import { MAX_CHUNK_SIZE } from './chunk-header.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'

/**
 * Chunk size that the payload of a Set Chunk Size message announces, 1 to 2^31 - 1. RTMP 1.0 §5.4.1.
 * @throws RtmpError `RTMP_CONTROL_MESSAGE_INVALID` when it is too short or out of range.
 */
export function announcedChunkSize(payload: Uint8Array, side: Side): number {
  const size = controlValue(payload, 'Set Chunk Size', side)
  if (size < 1 || size > MAX_CHUNK_SIZE) {
    throw new RtmpError(RtmpErrorCode.controlMessageInvalid, `Set Chunk Size ${size} is out of range`, {
      side,
    })
  }
  return size
}

/** Chunk stream whose unfinished message an Abort message drops. RTMP 1.0 §5.4.2. */
export function abortedChunkStream(payload: Uint8Array, side: Side): number {
  return controlValue(payload, 'Abort', side)
}

/**
 * Bytes after which the sender of a Window Acknowledgement Size gets an Acknowledgement; undefined when it asks for none
 * by a 0. RTMP 1.0 §5.4.4. Never less than 16,384: by a window of 1 every byte of a peer that reads nothing would
 * leave an Acknowledgement in its queue.
 */
export function announcedWindow(payload: Uint8Array, side: Side): number | undefined {
  const windowBytes = controlValue(payload, 'Window Acknowledgement Size', side)
  return windowBytes === 0 ? undefined : Math.max(windowBytes, LEAST_WINDOW_BYTES)
}

const LEAST_WINDOW_BYTES = 16_384

function controlValue(payload: Uint8Array, name: string, side: Side): number {
  if (payload.length < 4) {
    throw new RtmpError(RtmpErrorCode.controlMessageInvalid, `${name} of ${payload.length} bytes`, { side })
  }
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0)
}
