/** An IPv4 address that a translator or a tunnel may make of an IPv6 address. */
export interface EmbeddedIpv4 {
  /** Its 4 bytes. */
  readonly ip: Uint8Array
  /** The bit of the IPv6 address at which it begins. A longer prefix says something of the embedded address too. */
  readonly fromBit: number
}

/**
 * The one form of an address for policy: an IPv4-mapped IPv6 address (::ffff:0:0/96, RFC 4291 §2.5.5.2) is the IPv4
 * host itself, since sockets treat it so. Every other address stays as it is.
 *
 * @param ip 4 or 16 bytes, not kept unless returned
 */
export function unmapIpv4(ip: Uint8Array): Uint8Array {
  return isMapped(ip) ? ip.subarray(12) : ip
}

/** Whether these are the 16 bytes of an IPv4-mapped address. */
export function isMapped(ip: Uint8Array): boolean {
  return ip.length === 16 && isZero(ip, 0, 10) && ip[10] === 0xff && ip[11] === 0xff
}

/**
 * Every IPv4 address that an IPv6 address carries in a form that somebody on the way may unpack, so that a policy looks
 * at them as well; none for IPv4 and for IPv4-mapped addresses, which `unmapIpv4` takes first.
 */
export function embeddedIpv4(ip: Uint8Array): readonly EmbeddedIpv4[] {
  if (ip.length !== 16) return []
  const found: EmbeddedIpv4[] = []
  const put = (at: number): void => {
    found.push({ ip: ip.slice(at, at + 4), fromBit: at * 8 })
  }
  // IPv4-compatible, RFC 4291 §2.5.5.1; `::` and `::1` are addresses of their own.
  if (isZero(ip, 0, 12) && !(isZero(ip, 12, 15) && (ip[15] ?? 0) <= 1)) put(12)
  // IPv4-translated, ::ffff:0:0:0/96, RFC 2765 §2.1.
  if (isZero(ip, 0, 8) && ip[8] === 0xff && ip[9] === 0xff && isZero(ip, 10, 12)) put(12)
  // 6to4, RFC 3056 §2.
  if (startsWith(ip, 0x20, 0x02)) put(2)
  // Teredo, RFC 4380 §4: the server as it is, the client with every bit turned over.
  if (startsWith(ip, 0x20, 0x01, 0, 0)) {
    put(4)
    found.push({ ip: ip.slice(12).map((byte) => byte ^ 0xff), fromBit: 96 })
  }
  if (startsWith(ip, 0x00, 0x64, 0xff, 0x9b)) {
    // NAT64's well-known prefix, RFC 6052 §2.1.
    if (isZero(ip, 4, 12)) put(12)
    // The prefix for local use, RFC 8215. How long the translator's own is, nobody can see: RFC 6052 §2.2 has four ways
    // to read the rest, and byte 8 is skipped in three of them. Translators ignore the suffix, so it decides nothing.
    if (ip[4] === 0 && ip[5] === 1) {
      found.push({ ip: Uint8Array.of(ip[6] ?? 0, ip[7] ?? 0, ip[9] ?? 0, ip[10] ?? 0), fromBit: 48 })
      found.push({ ip: Uint8Array.of(ip[7] ?? 0, ip[9] ?? 0, ip[10] ?? 0, ip[11] ?? 0), fromBit: 56 })
      put(9)
      put(12)
    }
  }
  // ISATAP, RFC 5214 §6.1: an interface identifier under any prefix; the lowest bits of byte 8 are the u and g bits.
  if (((ip[8] ?? 0) & 0xfc) === 0 && ip[9] === 0 && ip[10] === 0x5e && ip[11] === 0xfe) put(12)
  return found
}

function isZero(ip: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (ip[i] !== 0) return false
  return true
}

function startsWith(ip: Uint8Array, ...prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => ip[i] === byte)
}
