import { YamuxError, YamuxErrorCode } from './errors.ts'
import { initialWindowBytes } from './frame.ts'

/** The bounds of a session. */
export interface YamuxLimits {
  /** Most that one stream's window may grow to, 262,144 to 2^30. @defaultValue 6,291,456, as frp */
  readonly maxWindowBytes: number
  /** What all windows of the session together may grow beyond 262,144 each. @defaultValue 16,777,216 */
  readonly sessionWindowBytes: number
  /**
   * Most that may wait for slow readers, in all streams together; past it the stream with most is reset.
   * @defaultValue 268,435,456: 1024 streams whose readers stand still
   */
  readonly maxKeptBytes: number
  /** Most that a stream holds of what is written after `write` said false; past it the stream is reset. @defaultValue 4,194,304 */
  readonly maxHeldBytes: number
  /** Streams at a time; the peer's next ones are refused with RST, our own with an error. @defaultValue 65,536 */
  readonly maxStreams: number
  /** Streams of the peer that nobody has attached a sink to; further ones are refused with RST. @defaultValue 256 */
  readonly acceptBacklog: number
  /** Streams of ours that the peer has not acknowledged; further ones wait. frp's peers answer RST beyond 256. @defaultValue 256 */
  readonly maxUnacknowledged: number
  /** How long an opened stream may stay without acknowledgement, in milliseconds; then the session is over. @defaultValue 75,000 */
  readonly openTimeoutMs: number
  /** How long a destroyed stream waits for the peer to end its side, in milliseconds; then it is reset. @defaultValue 300,000 */
  readonly closeTimeoutMs: number
  /** Time between pings, in milliseconds; 0 or less: none. @defaultValue 30,000 */
  readonly keepaliveMs: number
  /** How long after a ping nothing may come from the peer, in milliseconds; then the session is over. @defaultValue 10,000 */
  readonly pingTimeoutMs: number
}

const defaultLimits: YamuxLimits = {
  maxWindowBytes: 6_291_456,
  sessionWindowBytes: 16_777_216,
  maxKeptBytes: 268_435_456,
  maxHeldBytes: 4_194_304,
  maxStreams: 65_536,
  acceptBacklog: 256,
  maxUnacknowledged: 256,
  openTimeoutMs: 75_000,
  closeTimeoutMs: 300_000,
  keepaliveMs: 30_000,
  pingTimeoutMs: 10_000,
}

/** Fills in defaults. Throws `YAMUX_BAD_OPTION` for a bound out of range. */
export function completeLimits(given: Partial<YamuxLimits>): YamuxLimits {
  const limits = { ...defaultLimits, ...given }
  check('maxWindowBytes', limits.maxWindowBytes, initialWindowBytes, 2 ** 30)
  check('sessionWindowBytes', limits.sessionWindowBytes, 0, 2 ** 40)
  check('maxKeptBytes', limits.maxKeptBytes, initialWindowBytes, 2 ** 40)
  check('maxHeldBytes', limits.maxHeldBytes, 0, 2 ** 40)
  check('maxStreams', limits.maxStreams, 1, 2 ** 31)
  check('acceptBacklog', limits.acceptBacklog, 1, 2 ** 31)
  check('maxUnacknowledged', limits.maxUnacknowledged, 1, 2 ** 31)
  check('openTimeoutMs', limits.openTimeoutMs, 1, 2 ** 31)
  check('closeTimeoutMs', limits.closeTimeoutMs, 1, 2 ** 31)
  check('keepaliveMs', limits.keepaliveMs, -(2 ** 31), 2 ** 31)
  check('pingTimeoutMs', limits.pingTimeoutMs, 1, 2 ** 31)
  return limits
}

function check(name: keyof YamuxLimits, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  const message = `${name} must be a whole number from ${least} to ${most}, is ${value}`
  throw new YamuxError(YamuxErrorCode.badOption, message, { side: 'self' })
}
