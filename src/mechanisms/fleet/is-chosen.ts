import { createHash } from 'node:crypto'
import type { Fleet } from './contract.ts'

/**
 * Whether this gateway is the one of the fleet that does what one has to do, by the name of that. All agree who it is but for
 * the seconds in which gateways come and go.
 */
export function isChosen(fleet: Pick<Fleet, 'id' | 'members'>, name: string): boolean {
  const members = fleet.members()
  const at = createHash('sha256').update(name).digest().readUInt32BE() % members.length
  return members[at]?.id === fleet.id
}
