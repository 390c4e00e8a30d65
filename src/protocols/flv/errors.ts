import { SluiceError } from '../../foundation/errors.ts'

export type FlvErrorCode =
  /** The bytes do not start with an FLV header, or name a header size that cannot be. End the stream. */
  | 'FLV_HEADER'
  /** A tag is larger than the reader allows. End the stream, or raise `maxTagBytes`. */
  | 'FLV_TAG_TOO_LARGE'

/** An FLV stream that cannot be read on. */
export class FlvError extends SluiceError {
  override readonly name = 'FlvError'

  constructor(code: FlvErrorCode, message: string) {
    super(code, message, { side: 'origin', retryable: false })
  }
}
