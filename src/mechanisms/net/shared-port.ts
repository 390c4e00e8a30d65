/** Names for ALPN of STUN and TURN (RFC 7443). */
export const turnAlpn = ['stun.turn', 'stun.nat-discovery'] as const

/** Names for ALPN of the HTTP that this gateway speaks. */
export const httpAlpn = ['http/1.1'] as const

/** Which protocol a connection speaks on a port that several share. */
export type SharedPortProtocol = 'stun' | 'http' | 'other'

/**
 * Tells protocols apart by what was agreed on by ALPN or, without that, by the first byte that the client sent. Both
 * undefined: `other`.
 */
export function sharedPortProtocol(firstByte: number | undefined, alpn?: string): SharedPortProtocol {
  if (alpn !== undefined && turnNames.has(alpn)) return 'stun'
  if (alpn !== undefined && httpNames.has(alpn)) return 'http'
  if (firstByte === undefined) return 'other'
  // RFC 7983 §7. Data of a channel (64 to 79, which are letters too) cannot come before the channel is bound.
  if (firstByte <= 3) return 'stun'
  return isLetter(firstByte) ? 'http' : 'other'
}

/**
 * The same for a port that HTTP shares with RTMP, whose handshake begins with its version: 3, or 6 for RTMPE, which is
 * not served.
 */
export function mediaPortProtocol(firstByte: number | undefined, alpn?: string): 'http' | 'rtmp' | 'other' {
  if (alpn !== undefined && httpNames.has(alpn)) return 'http'
  if (firstByte === RTMP_VERSION) return 'rtmp'
  return firstByte !== undefined && isLetter(firstByte) ? 'http' : 'other'
}

const RTMP_VERSION = 3

const turnNames: ReadonlySet<string> = new Set(turnAlpn)
const httpNames: ReadonlySet<string> = new Set([...httpAlpn, 'http/1.0', 'h2'])

function isLetter(byte: number): boolean {
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x7a
}
