/**
 * frp's messages and wire protocols, v1 and v2: bytes in, meaning out, and back. A connection begins with what
 * `classifyFirstBytes` tells apart, then carries messages (`encodeMessage`, `MessageDecoder`), on a control connection inside
 * `cfbCodec` (v1) or, after the hellos, `aeadCodec` (v2).
 *
 * @module
 */
export {
  aeadAlgorithms,
  aeadCodec,
  aeadNonceBytes,
  type AeadAlgorithm,
  type AeadCodecOptions,
} from './aead-codec.ts'
export { parseBandwidth } from './bandwidth.ts'
export type { ByteCodec } from './byte-codec.ts'
export { ByteQueue } from './byte-queue.ts'
export { cfbCodec } from './cfb-codec.ts'
export { FrpError, type FrpErrorCode } from './errors.ts'
export { classifyFirstBytes, type FirstBytes } from './first-bytes.ts'
export { helloFrame, V2_MAGIC } from './framing.ts'
export {
  acceptServerHello,
  chooseServerHello,
  clientHello,
  encodeClientHello,
  encodeServerHello,
  parseClientHello,
  parseServerHello,
  refusalHello,
  transcriptHash,
  type ClientHello,
  type HelloAgreement,
  type HelloChoice,
  type ServerHello,
} from './hello.ts'
export { cfbKey, isPrivilegeKey, privilegeKey } from './keys.ts'
export { MessageDecoder, type MessageDecoderOptions } from './message-decoder.ts'
export { encodeMessage } from './message-encoder.ts'
export type * from './messages.ts'
export { encodeUdpPacket, mostDatagramBytes, type UdpPacketCodec } from './udp-packet.ts'
