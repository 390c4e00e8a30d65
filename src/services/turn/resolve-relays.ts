import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'
import { canonicalAddress } from '../../mechanisms/datapath/index.ts'
import type { ResolvedRelay } from './core/listener-state.ts'
import { TurnError } from './errors.ts'
import type { RelayOptions } from './options.ts'

/** Fills in defaults. A wildcard becomes the address from which the machine reaches the internet, else the loopback. */
export async function resolveRelays(relays: readonly RelayOptions[]): Promise<readonly ResolvedRelay[]> {
  const resolved = await Promise.all(
    relays.map(async ({ address, advertised, ports = { from: 49_152, to: 65_535 } }) => {
      const family = isIP(address) === 6 ? 6 : 4
      // In the form in which peers' addresses come.
      const bound = canonicalAddress(wildcards.has(address) ? await outgoingAddress(family) : address)
      return { family, address: bound, advertised: canonicalAddress(advertised ?? bound), ...ports } as const
    }),
  )
  return resolved.toSorted((one, other) => one.family - other.family)
}

/** Asks the system which address it would send from. Nothing is sent. */
async function outgoingAddress(family: 4 | 6): Promise<string> {
  for (const target of family === 4 ? ['192.0.2.1', '127.0.0.1'] : ['2001:db8::1', '::1']) {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
    try {
      const address = await new Promise<string>((resolve, reject) => {
        socket.once('error', reject)
        socket.connect(9, target, () => resolve(socket.address().address))
      })
      return address
    } catch {
      // No way leads there: the next.
    } finally {
      socket.close()
    }
  }
  throw new TurnError(
    'TURN_NO_RELAY_ADDRESS',
    `this machine has no IPv${family} address for relays: name one`,
  )
}

const wildcards: ReadonlySet<string> = new Set(['0.0.0.0', '::'])
