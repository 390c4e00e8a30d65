import { Resolver } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import { errorMessage } from '../../../foundation/errors.ts'
import { TunnelError } from '../errors.ts'

/**
 * Looks names up at one server, in place of those of the system.
 * @throws TunnelError TUNNEL_BAD_OPTION when it is no address, with or without port
 */
export function lookupBy(dnsServer: string): LookupFunction {
  const resolver = new Resolver({ timeout: 3000, tries: 2 })
  try {
    resolver.setServers([dnsServer])
  } catch (cause) {
    throw new TunnelError('TUNNEL_BAD_OPTION', `dnsServer ${dnsServer}: ${errorMessage(cause)}`, {
      side: 'self',
      cause,
    })
  }
  const answer = async (...[name, { all, family }, callback]: Parameters<LookupFunction>): Promise<void> => {
    let addresses: readonly Address[]
    try {
      addresses = await resolveName(resolver, name, family)
    } catch (cause) {
      callback(new Error(`${dnsServer} does not know ${name}: ${errorMessage(cause)}`, { cause }), [])
      return
    }
    const [first] = addresses
    if (all) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family)
  }
  return (...request) => void answer(...request)
}

interface Address {
  readonly address: string
  readonly family: number
}

/** IPv4 first; one of both kinds may be missing. */
async function resolveName(
  resolver: Resolver,
  name: string,
  family: number | string | undefined,
): Promise<readonly Address[]> {
  const queries: Promise<readonly Address[]>[] = []
  if (family !== 6 && family !== 'IPv6')
    queries.push(resolver.resolve4(name).then((found) => found.map(asIPv4)))
  if (family !== 4 && family !== 'IPv4')
    queries.push(resolver.resolve6(name).then((found) => found.map(asIPv6)))
  const answers = await Promise.allSettled(queries)
  const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (addresses.length > 0) return addresses
  const failed = answers.find((answer) => answer.status === 'rejected')
  throw failed === undefined ? new Error(`${name} has no address`) : failed.reason
}

function asIPv4(address: string): Address {
  return { address, family: 4 }
}

function asIPv6(address: string): Address {
  return { address, family: 6 }
}
