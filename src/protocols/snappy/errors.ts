import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `SnappyError`, with what to do about each. */
export const SnappyErrorCode = {
  /** Bytes that are no snappy stream, or a damaged one. End the stream; look whether both ends compress. */
  corrupt: 'SNAPPY_CORRUPT',
  /** A chunk that may exist and that we cannot read: of a later format, or above 65,536 bytes. End the stream. */
  unsupported: 'SNAPPY_UNSUPPORTED',
} as const

export type SnappyErrorCode = (typeof SnappyErrorCode)[keyof typeof SnappyErrorCode]

/** What ends a compressed stream. */
export class SnappyError extends SluiceError {
  override readonly name = 'SnappyError'

  constructor(code: SnappyErrorCode, message: string) {
    super(code, message, { side: 'client', retryable: false })
  }
}
