import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** Whether a listener's address means every address of the machine. `0.0.0.0` does too, of IPv6 as well, as in Go's programs. */
function isEveryAddress(address: string): boolean {
  return address === '' || address === '0.0.0.0' || address === '::'
}

/** The `host` of a listener as Go's programs take it: none for every address. */
export function hostOf(address: string): { readonly host?: string } {
  return isEveryAddress(address) ? {} : { host: address }
}

/**
 * The addresses that a datagram endpoint binds for what is configured: a literal, a name, or every address.
 * @throws Node's error for a name that is not known (`ENOTFOUND`)
 */
export async function endpointAddresses(address: string): Promise<readonly string[]> {
  if (isEveryAddress(address)) return ['0.0.0.0', '::']
  if (isIP(address) !== 0) return [address]
  return [(await lookup(address)).address]
}
