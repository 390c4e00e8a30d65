import {
  packetKind,
  StunClass,
  StunMessage,
  StunMethod,
  stunUsername,
  verifyFingerprint,
  verifyMessageIntegrity,
} from '../../../protocols/stun/index.ts'
import type { Session } from './session.ts'
import type { SessionTable } from './session-table.ts'
import type { StrangerReason } from './stranger-reason.ts'

/** A STUN request that was made with the password of a session. */
export interface StunProof {
  readonly session: Session
  /** Views over the bytes it was read from. */
  readonly message: StunMessage
}

/** The session that a datagram proves to belong to, or why it proves nothing. */
export function proofOf(bytes: Uint8Array, sessions: SessionTable): StunProof | StrangerReason {
  if (packetKind(bytes[0]) !== 'stun') return 'not-stun'
  const message = StunMessage.decode(bytes)
  if (typeof message === 'string') return 'malformed'
  if (message.method !== StunMethod.binding || message.class !== StunClass.request) return 'not-request'
  if (message.fingerprintOffset !== undefined && !verifyFingerprint(message)) return 'malformed'
  const username = stunUsername(bytes)
  if (username === undefined) return 'no-username'
  const session = sessions.byUsername(username)
  const identity = session?.identities.find((one) => one.username === username)
  if (session === undefined || identity === undefined) return 'unknown-session'
  if (identity.password === undefined) return 'unverified'
  return verifyMessageIntegrity(message, identity.password) ? { session, message } : 'integrity'
}
