/**
 * SDP as WHIP and WHEP carry it (RFC 8866, 8839), read and rewritten without touching what is not meant:
 * the ICE credentials that name a session, offers without candidates, answers with the gateway's.
 *
 * @module
 */
export {
  hostCandidateText,
  type IceCandidate,
  isCandidateLine,
  parseCandidate,
  type PublicAddress,
  udpCandidates,
} from './candidate.ts'
export { type IceCredentials, iceCredentials } from './ice-credentials.ts'
export { withoutCandidates, withPublicCandidates } from './rewrite.ts'
export { type SdpFault, type SdpLimits, type SdpLine, SessionDescription } from './session-description.ts'
