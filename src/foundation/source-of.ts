import { ipToBytes, ipToText } from './ip-text.ts'

/** What counts as one source: an IPv4 address, or the /64 of an IPv6 address, since one host has as many as it likes. */
export function sourceOf(address: string): string {
  if (!address.includes(':')) return address
  const bytes = ipToBytes(address)
  return bytes === undefined ? address : ipToText(bytes.fill(0, 8))
}
