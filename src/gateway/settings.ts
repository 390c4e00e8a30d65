import type { AddressInfo } from 'node:net'
import { formatListenAddress, type ListenAddress, parseListenText } from '../mechanisms/net/index.ts'

/** A listener of the configuration; the text was checked when that was read. */
export function listenAddress(text: string): ListenAddress {
  const address = parseListenText(text)
  if (address === undefined) throw new TypeError(`not a listener: ${text}`)
  return address
}

/** Local addresses of a datagram endpoint: a wildcard is one of IPv4 and one of IPv6. */
export function datagramAddresses({ host }: ListenAddress): readonly string[] {
  return host === undefined || host === '::' ? ['0.0.0.0', '::'] : [host]
}

export function addressText({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return formatListenAddress({ host: address, port })
}

/** Whole and at least 1, for times of which 0 means nothing. */
export function milliseconds(seconds: number): number {
  return Math.max(1, Math.round(seconds * 1000))
}

/** The same where 0 switches something off. */
export function millisecondsOrNone(seconds: number): number {
  return Math.round(seconds * 1000)
}
