/** Why a datagram of somebody unknown was dropped; the labels of its metric. */
export const STRANGER_REASONS = [
  /** The first byte is not STUN's (RFC 7983). */
  'not-stun',
  /** No well-formed STUN message, or its FINGERPRINT is wrong. */
  'malformed',
  /** STUN, but no Binding request. */
  'not-request',
  'no-username',
  /** No live session has this USERNAME. */
  'unknown-session',
  /** MESSAGE-INTEGRITY is missing or was not made with the session's password. */
  'integrity',
  /** Its session is being looked up at the shared store for an earlier request. */
  'being-looked-up',
  /** Too many look-ups: of its source, or of all. */
  'too-many-lookups',
  /** The shared store did not answer. */
  'lookup-failed',
  /** Nobody told the session's password, and it is not, or not any more, for whoever comes first. */
  'unverified',
  /** What the shared store says of the session leads to no origin. */
  'bad-record',
  /** The session of another gateway could not be served here: too many sessions, a token that ran out, no socket. */
  'not-served',
] as const
export type StrangerReason = (typeof STRANGER_REASONS)[number]
