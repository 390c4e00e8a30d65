/**
 * What TURN puts on the wire beside STUN's own (RFC 8656, 6062, 8016, 7635): ChannelData, frames of a stream, the values
 * of its attributes; and `TurnClient`, one allocation from the client's side. Pure.
 *
 * @module
 */
export {
  type AccessToken,
  type AccessTokenFault,
  type AccessTokenSeal,
  decodeAccessToken,
  encodeAccessToken,
} from './access-token.ts'
export {
  type ChannelData,
  channelHeaderBytes,
  decodeChannelData,
  encodeChannelData,
  isChannelData,
  maxChannel,
  maxChannel5766,
  minChannel,
} from './channel-data.ts'
export { TurnClient } from './client/turn-client.ts'
export { type TurnClientOptions } from './client/turn-client-options.ts'
export {
  type TurnClientOutput,
  type TurnFailureCode,
  type TurnOperation,
} from './client/turn-client-output.ts'
export { maxFrameBytes, StreamFramer } from './stream-framer.ts'
export {
  type AddressErrorCode,
  AddressFamily,
  decodeAddressErrorCode,
  decodeAddressFamily,
  decodeChannelNumber,
  decodeEvenPort,
  decodeIcmp,
  decodeRequestedTransport,
  encodeAddressErrorCode,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeEvenPort,
  encodeIcmp,
  encodeRequestedTransport,
  type IcmpReport,
  peerAddress,
  peerAddresses,
  RelayTransport,
} from './turn-attributes.ts'
