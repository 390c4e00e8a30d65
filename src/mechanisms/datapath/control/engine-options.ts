import { networkInterfaces } from 'node:os'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { InterfaceLister } from './local-addresses.ts'

/** How many datagrams per second are handed to TypeScript; what is over it is dropped and counted. */
export interface PacketBudget {
  readonly packetsPerSecond: number
  /** How many may come at once after silence. */
  readonly burst: number
}

/** What every engine takes. */
export interface EngineOptions {
  readonly clock?: Clock
  /** Lists the machine's addresses for wildcard endpoints. @defaultValue `os.networkInterfaces` */
  readonly listInterfaces?: InterfaceLister
  /** How often wildcard endpoints look for new and gone addresses, in milliseconds. @defaultValue 5000 */
  readonly interfacePollMs?: number
  /** Strangers' datagrams, per endpoint. @defaultValue 5000 per second, 2000 at once */
  readonly strangersPerEndpoint?: PacketBudget
  /** Strangers' datagrams of all endpoints. @defaultValue 20,000 per second, 4000 at once */
  readonly strangers?: PacketBudget
  /** Datagrams of the known, copies of STUN requests and ICMP errors, per endpoint. @defaultValue 100,000 per second, 20,000 at once */
  readonly knownPerEndpoint?: PacketBudget
  /** The same of all endpoints. @defaultValue 200,000 per second, 40,000 at once */
  readonly known?: PacketBudget
  /** How much may wait in one socket's send queue, in bytes; further datagrams are dropped. @defaultValue 1 MiB */
  readonly maxSendQueueBytes?: number
  /** Told of an error that a receiver threw, which is its bug; the engine goes on. @defaultValue a process warning */
  readonly onReceiverError?: (error: unknown) => void
}

export const engineDefaults: Required<EngineOptions> = {
  clock: systemClock,
  listInterfaces: networkInterfaces,
  interfacePollMs: 5000,
  strangersPerEndpoint: { packetsPerSecond: 5000, burst: 2000 },
  strangers: { packetsPerSecond: 20_000, burst: 4000 },
  knownPerEndpoint: { packetsPerSecond: 100_000, burst: 20_000 },
  known: { packetsPerSecond: 200_000, burst: 40_000 },
  maxSendQueueBytes: 1024 * 1024,
  onReceiverError: (error) => {
    process.emitWarning(error instanceof Error ? error : String(error))
  },
}
