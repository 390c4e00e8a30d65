import { createHash, hkdfSync } from 'node:crypto'
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Fleet, GatewayId } from '../mechanisms/fleet/index.ts'
import { parseListenText } from '../mechanisms/net/index.ts'
import type { TurnFleet } from '../services/turn/index.ts'

/** By what a gateway announces where others reach its TURN by UDP. */
const TURN_PEER = 'turnPeer'

/** The gateways as their TURN servers see each other, from what they have announced. */
export function turnFleetOf(fleet: Pick<Fleet, 'id' | 'members' | 'onGone'>): TurnFleet {
  return {
    tag: tagOf(fleet.id),
    addressOf: (tag) => {
      const member = fleet.members().find(({ id }) => tagOf(id) === tag)
      for (const text of member?.addresses[TURN_PEER] ?? []) {
        const { host, port } = parseListenText(text) ?? {}
        if (host !== undefined && port !== undefined && port > 0 && isReachable(host))
          return { address: host, port }
      }
      return undefined
    },
    onGone: (listener) => fleet.onGone((id) => listener(tagOf(id))),
  }
}

/** The key of nonces and tickets, which gateways have in common that have the same secret. */
export function turnSecretOf(
  turnSecret: string | undefined,
  fleetSecret: string | undefined,
): Uint8Array | undefined {
  if (turnSecret !== undefined) return createHash('sha256').update(turnSecret).digest()
  if (fleetSecret === undefined) return undefined
  return new Uint8Array(hkdfSync('sha256', fleetSecret, '', 'sluice turn nonces and tickets', 32))
}

/** Of the gateways that were met, so that a flood of tickets does not cost a hash of each every time. */
const tags = new LRUCache<GatewayId, string>({
  max: 2048,
  memoMethod: (id) => createHash('sha256').update(id).digest('hex').slice(0, 8),
})

/** Ids are texts of any length, tickets have room for 4 bytes. */
function tagOf(id: GatewayId): string {
  return tags.memo(id)
}

/** Whether something can be sent to an address that others have named. */
function isReachable(host: string): boolean {
  const family = isIP(host)
  if (family === 6) return !/^(?:::$|ff)/i.test(host)
  return family === 4 && !/^(?:0\.|22[4-9]\.|2[345]\d\.)/.test(host)
}
