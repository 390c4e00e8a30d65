import type { PeerPath } from './peer-path.ts'

/** That a client may talk with the peers of one address (RFC 8656 §9). */
export interface Permission {
  readonly address: string
  expiresAtMs: number
  /** By port. */
  readonly paths: Map<number, PeerPath>
}
