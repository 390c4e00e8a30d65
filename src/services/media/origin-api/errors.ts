import { SluiceError } from '../../../foundation/errors.ts'

/** Codes of the way to origins' own APIs, and what to do about each. */
export type OriginApiErrorCode =
  /** No origin has this id: see `GET /api/v1/origins`. */
  | 'ORIGIN_API_NO_SUCH_ORIGIN'
  /** The origin has no HTTP API of SRS that is known. */
  | 'ORIGIN_API_NOT_OFFERED'
  /** The path leaves `/api/`, or holds what no path has. */
  | 'ORIGIN_API_BAD_PATH'
  /** The origin gave no answer in time, or none at all: see the log. */
  | 'ORIGIN_API_UNREACHABLE'
  /** The origin's answer exceeds what is passed on. */
  | 'ORIGIN_API_TOO_LARGE'

/** An error of the way to origins' APIs. Operators alone read it. */
export function originApiError(
  code: OriginApiErrorCode,
  message: string,
  status: number,
  cause?: unknown,
): SluiceError {
  const side = status >= 500 ? 'origin' : 'client'
  return new SluiceError(code, message, { side, retryable: status >= 500, status, cause })
}
