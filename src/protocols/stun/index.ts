/**
 * STUN messages (RFC 8489): bytes to meaning and back, with integrity and fingerprint. Used for finding
 * the session of a WebRTC client's first datagram, and by whoever speaks TURN. Pure: transaction ids,
 * keys and bytes come in as arguments.
 *
 * @module
 */
export { isComprehensionRequired, StunAttribute } from './attribute-type.ts'
export { type PacketKind, packetKind } from './demultiplex.ts'
export {
  decodeErrorCode,
  encodeErrorCode,
  encodeUnknownAttributes,
  type StunErrorCode,
} from './error-code.ts'
export { fingerprintOf, verifyFingerprint } from './fingerprint.ts'
export { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
export {
  type StunAttributeView,
  type StunFault,
  StunMessage,
  stunHeaderBytes,
  stunMagicCookie,
  stunUsername,
} from './message.ts'
export {
  type IntegrityHash,
  longTermKey,
  userhash,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from './message-integrity.ts'
export { classOf, encodeMessageType, methodOf, StunClass, StunMethod } from './message-type.ts'
export { StunWriter } from './message-writer.ts'
export {
  decodeAddress,
  decodeXorAddress,
  encodeAddress,
  encodeXorAddress,
  type TransportAddress,
} from './xor-address.ts'
