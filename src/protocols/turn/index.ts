/**
 * What TURN puts on the wire beside STUN's own (RFC 8656, 6062, 8016, 7635): ChannelData, frames of a stream, the values
 * of its attributes. Pure.
 *
 * @module
 */
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
