/**
 * SRT as far as a gateway needs it: handshakes of version 5 between callers and listeners, the stream ids in them, and
 * how a session ends. draft-sharabayko-srt-01.
 *
 * @module
 */
export {
  decodeHandshake,
  encodeHandshake,
  ExtensionFlag,
  ExtensionType,
  type Handshake,
  HANDSHAKE_BYTES,
  type HandshakeExtension,
  type HandshakeFault,
  HandshakeType,
  HSV5_MAGIC,
} from './handshake.ts'
export { inductionAnswer, type InductionAnswerOptions, inductionOf } from './induction.ts'
export {
  ControlWord,
  DESTINATION_OFFSET,
  destinationOf,
  firstWord,
  HEADER_BYTES,
  shutdownPacket,
} from './packet.ts'
export { peerIpBytes } from './peer-ip.ts'
export { isRetryable, REJECTION_BASE, rejection, rejectReasonOf, RejectReason } from './rejection.ts'
export { RelayedHandshake, type RelayedHandshakeStep } from './relayed-handshake.ts'
export {
  originStreamId,
  parseStreamId,
  type StreamId,
  type StreamIdFault,
  writeStreamId,
} from './stream-id.ts'
export {
  MAX_STREAM_ID_BYTES,
  streamIdOf,
  type StreamIdBlockFault,
  withStreamId,
} from './stream-id-block.ts'
export { type CookieOwner, SynCookies } from './syn-cookie.ts'
