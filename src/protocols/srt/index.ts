/**
 * SRT as far as a gateway needs it: handshakes of version 5 between callers and listeners, the stream ids in them, and
 * how a session ends. draft-sharabayko-srt-01.
 *
 * @module
 */
export {
  decodeHandshake,
  encodeHandshake,
  type Handshake,
  type HandshakeExtension,
  type HandshakeFault,
  HandshakeType,
} from './handshake.ts'
export { inductionAnswer, type InductionAnswerOptions, inductionOf } from './induction.ts'
export {
  ControlWord,
  DESTINATION_OFFSET,
  destinationOf,
  firstWord,
  shutdownPacket,
} from './packet.ts'
export { peerIpBytes } from './peer-ip.ts'
export { isRetryable, rejection, rejectReasonOf, RejectReason } from './rejection.ts'
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
