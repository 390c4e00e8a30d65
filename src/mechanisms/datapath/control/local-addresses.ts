import type { networkInterfaces } from 'node:os'
import { canonicalAddress } from './ip-address.ts'

/** Lists the machine's interfaces; `os.networkInterfaces`, or a test's own. */
export type InterfaceLister = typeof networkInterfaces

/** Whether an address stands for all addresses of its family. */
export function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

/**
 * The addresses to bind for those asked for, canonical and without repetition: a wildcard becomes every
 * address of its family that the machine has, except link-local IPv6, whose replies would need a zone.
 */
export function expandAddresses(addresses: readonly string[], listInterfaces: InterfaceLister): string[] {
  const expanded = new Set<string>()
  for (const address of addresses) {
    const canonical = canonicalAddress(address)
    if (!isWildcard(canonical)) {
      expanded.add(canonical)
      continue
    }
    const family = canonical === '::' ? 'IPv6' : 'IPv4'
    for (const entry of Object.values(listInterfaces()).flat()) {
      if (entry?.family === family && !isLinkLocal(entry.address))
        expanded.add(canonicalAddress(entry.address))
    }
  }
  return [...expanded]
}

/** fe80::/10. */
function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/i.test(address)
}
