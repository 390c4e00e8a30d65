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
] as const
export type StrangerReason = (typeof STRANGER_REASONS)[number]
