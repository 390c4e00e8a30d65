/**
 * What a datagram on a port shared by several protocols is, by its first byte (RFC 7983 §7, with the
 * ranges of RFC 9443 §3). `unknown` covers the ranges that nobody was given.
 */
export type PacketKind = 'stun' | 'zrtp' | 'dtls' | 'turn-channel' | 'quic' | 'rtp' | 'unknown'

/**
 * Tells protocols on one port apart. `firstByte` is `undefined` for an empty datagram. Only a first
 * guess: each protocol still checks its own magic and lengths.
 */
export function packetKind(firstByte: number | undefined): PacketKind {
  if (firstByte === undefined) return 'unknown'
  if (firstByte <= 3) return 'stun'
  if (firstByte >= 128 && firstByte <= 191) return 'rtp'
  if (firstByte >= 20 && firstByte <= 63) return 'dtls'
  if (firstByte >= 64 && firstByte <= 79) return 'turn-channel'
  if (firstByte >= 80) return 'quic'
  return firstByte >= 16 ? 'zrtp' : 'unknown'
}
