/**
 * Whose fault an error is. A gateway decides on it which status to answer and whether to try the
 * next origin.
 */
export type Side = 'client' | 'origin' | 'self'

/** What an error carries besides its code and its message. */
export interface SluiceErrorOptions {
  readonly side: Side
  /** Whether the same request can succeed elsewhere or later. */
  readonly retryable: boolean
  /** HTTP status that fits, where the error ends an HTTP request. */
  readonly status?: number
  readonly cause?: unknown
}

/**
 * The base of all errors that Sluice throws on purpose. `code` is stable and greppable; each folder
 * lists its codes in its `errors.ts`. `message` carries the values that explain it, never a secret.
 */
export class SluiceError extends Error {
  override readonly name: string = 'SluiceError'
  readonly code: string
  readonly side: Side
  readonly retryable: boolean
  readonly status: number | undefined

  constructor(code: string, message: string, options: SluiceErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.side = options.side
    this.retryable = options.retryable
    this.status = options.status
  }
}

/**
 * The code of any thrown value: a Sluice code, a Node system code such as `ECONNREFUSED`, or
 * `UNKNOWN`. For log fields and metric labels.
 */
export function errorCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    return error.code
  }
  return 'UNKNOWN'
}

/** The message of any thrown value, for a log field. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
