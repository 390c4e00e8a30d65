/**
 * Attribute types (RFC 8489 §18.3, 8445 §20.3, 8656 §18, 5780 §7, 6062 §6.2, 7635 §6, 8016 §3).
 * Below 0x8000 a receiver must understand them.
 */
export const StunAttribute = {
  mappedAddress: 0x0001,
  changeRequest: 0x0003,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  evenPort: 0x0018,
  requestedTransport: 0x0019,
  dontFragment: 0x001a,
  accessToken: 0x001b,
  messageIntegritySha256: 0x001c,
  passwordAlgorithm: 0x001d,
  userhash: 0x001e,
  xorMappedAddress: 0x0020,
  reservationToken: 0x0022,
  priority: 0x0024,
  useCandidate: 0x0025,
  padding: 0x0026,
  responsePort: 0x0027,
  connectionId: 0x002a,
  additionalAddressFamily: 0x8000,
  addressErrorCode: 0x8001,
  passwordAlgorithms: 0x8002,
  alternateDomain: 0x8003,
  icmp: 0x8004,
  software: 0x8022,
  alternateServer: 0x8023,
  fingerprint: 0x8028,
  iceControlled: 0x8029,
  iceControlling: 0x802a,
  responseOrigin: 0x802b,
  otherAddress: 0x802c,
  thirdPartyAuthorization: 0x802e,
  mobilityTicket: 0x8030,
  /** ADDITIONAL-ADDRESS-FAMILY before RFC 8656, as the clients of coturn 4.6 have it. */
  additionalAddressFamilyDraft: 0x8032,
} as const

/** Whether a receiver that does not know the type must refuse the request with 420 (RFC 8489 §14). */
export function isComprehensionRequired(type: number): boolean {
  return type < 0x8000
}
