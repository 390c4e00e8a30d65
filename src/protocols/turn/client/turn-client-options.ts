import type { AddressFamily } from '../turn-attributes.ts'

/** How a `TurnClient` is set up. */
export interface TurnClientOptions {
  /** Already prepared (OpaqueString, RFC 8265). */
  readonly username: string
  readonly password: string
  /** Whether the way to the server is TCP or TLS; over UDP and DTLS requests are repeated until they are answered. */
  readonly isStream: boolean
  /** So many random bytes, for transaction ids. */
  readonly random: (bytes: number) => Uint8Array
  /** What the server speaks with peers: REQUESTED-TRANSPORT. @defaultValue 'udp' */
  readonly relayTransport?: 'udp' | 'tcp'
  /** REQUESTED-ADDRESS-FAMILY. @defaultValue none asked, which servers take for IPv4 */
  readonly family?: AddressFamily
  /** LIFETIME to ask for, in seconds. @defaultValue none asked, which servers take for 600 */
  readonly lifetimeSeconds?: number
  /** Whether requests carry FINGERPRINT. @defaultValue false */
  readonly useFingerprint?: boolean
  /** How long an answer is waited for before a request is repeated, in milliseconds; doubled each time. RFC 8489 §6.2.1. @defaultValue 500 */
  readonly rtoMs?: number
  /** How often a request is sent in all: Rc of RFC 8489 §6.2.1. @defaultValue 7 */
  readonly maxSends?: number
  /** After the last time it is waited for so many times the first wait: Rm of RFC 8489 §6.2.1. @defaultValue 16 */
  readonly lastWaitFactor?: number
  /** How long a request over a stream may be unanswered, in milliseconds: Ti of RFC 8489 §6.2.3. @defaultValue 39,500 */
  readonly streamTimeoutMs?: number
}

/** Options with their defaults filled in. */
export type CompleteTurnClientOptions = TurnClientOptions & Required<Pick<TurnClientOptions, Optional>>

/** @throws RangeError that names the option, its value and its range */
export function completeTurnClientOptions(options: TurnClientOptions): CompleteTurnClientOptions {
  const complete = { ...defaults, ...options }
  for (const name of ['rtoMs', 'maxSends', 'lastWaitFactor', 'streamTimeoutMs'] as const) {
    if (!(complete[name] > 0)) throw new RangeError(`${name} must be above 0, not ${complete[name]}`)
  }
  const { lifetimeSeconds } = options
  if (lifetimeSeconds !== undefined && !(lifetimeSeconds >= 0 && lifetimeSeconds <= 0xffff_ffff))
    throw new RangeError(`lifetimeSeconds must be 0 to 4,294,967,295, not ${lifetimeSeconds}`)
  return complete
}

type Optional =
  | 'relayTransport'
  | 'useFingerprint'
  | 'rtoMs'
  | 'maxSends'
  | 'lastWaitFactor'
  | 'streamTimeoutMs'

const defaults: Required<Pick<TurnClientOptions, Optional>> = {
  relayTransport: 'udp',
  useFingerprint: false,
  rtoMs: 500,
  maxSends: 7,
  lastWaitFactor: 16,
  streamTimeoutMs: 39_500,
}
