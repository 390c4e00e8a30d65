import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the profiler, and what to do about each. */
export type ProfilingErrorCode =
  /** Somebody takes a profile of this kind at present: wait until it is done. */
  | 'PROFILING_BUSY'
  /** Whoever asked has left, or the profiler closed: nothing was made. */
  | 'PROFILING_ABORTED'
  /** `seconds` or `debug` is out of range: the message says what is allowed. */
  | 'PROFILING_BAD_QUERY'

/** An error of the profiler. */
export function profilingError(code: ProfilingErrorCode, message: string, status: number): SluiceError {
  return new SluiceError(code, message, { side: 'client', retryable: code === 'PROFILING_BUSY', status })
}
