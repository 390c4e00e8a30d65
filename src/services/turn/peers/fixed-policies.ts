import type { PeerPolicy } from './contract.ts'

const never = (): (() => void) => () => {}

/** Admits nobody: allocations can be made and reach no peer. */
export const denyAll: PeerPolicy = {
  admitsAddress: () => false,
  admits: () => false,
  onChange: never,
}

/**
 * Admits every address, and every port but 0. Dangerous wherever strangers hold credentials: loopback, the private
 * networks and the metadata service of the machine are peers too. For tests and closed networks.
 */
export const admitAll: PeerPolicy = {
  admitsAddress: () => true,
  admits: (_address, port) => Number.isInteger(port) && port >= 1 && port <= 65_535,
  onChange: never,
}
