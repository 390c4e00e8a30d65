import { type Handshake, HandshakeType } from './handshake.ts'

/**
 * Why a caller is refused: the reasons of libsrt's API. Below 1000 those of the protocol itself
 * (draft-sharabayko-srt-01 §4.3, table 7), from 1400 those that follow the statuses of HTTP.
 */
export const RejectReason = {
  unknown: 0,
  system: 1,
  peer: 2,
  resource: 3,
  rogue: 4,
  backlog: 5,
  internal: 6,
  close: 7,
  version: 8,
  rendezvousCookie: 9,
  badSecret: 10,
  unsecure: 11,
  messageApi: 12,
  congestion: 13,
  filter: 14,
  group: 15,
  timeout: 16,
  badRequest: 1400,
  unauthorized: 1401,
  overload: 1402,
  forbidden: 1403,
  notFound: 1404,
  badMode: 1405,
  conflict: 1409,
  internalServerError: 1500,
  gateway: 1502,
  down: 1503,
  noRoom: 1507,
} as const

/** On the wire a reason is the handshake's type: this much more. */
const REJECTION_BASE = 1000
/** Reasons that an application makes up end here. */
const MAX_REASON = 99_999

/** The reason that a handshake of an origin or a listener gives; undefined when it is no rejection. */
export function rejectReasonOf({ type }: Pick<Handshake, 'type'>): number | undefined {
  const reason = type - REJECTION_BASE
  return type !== HandshakeType.conclusion && reason >= 0 && reason <= MAX_REASON ? reason : undefined
}

/** What refuses a caller's conclusion. */
export function rejection(conclusion: Handshake, reason: number): Handshake {
  return {
    ...conclusion,
    destination: conclusion.socketId,
    type: REJECTION_BASE + reason,
    // None was opened.
    socketId: conclusion.socketId,
    extensionField: 0,
    extensions: [],
  }
}

/**
 * Whether another origin may accept what this one refused: it is full, or not well. What it says of the caller (a wrong
 * passphrase, no permission, no such stream) others would say too.
 */
export function isRetryable(reason: number): boolean {
  return retryable.has(reason)
}

const retryable: ReadonlySet<number> = new Set([
  RejectReason.system,
  RejectReason.resource,
  RejectReason.backlog,
  RejectReason.internal,
  RejectReason.close,
  RejectReason.timeout,
  RejectReason.overload,
  RejectReason.internalServerError,
  RejectReason.gateway,
  RejectReason.down,
  RejectReason.noRoom,
])
