import type { Socket } from 'node:net'
import type { Clock } from '../../../foundation/clock.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { CredentialSource } from '../credentials/contract.ts'
import type { TurnFleet } from '../fleet.ts'
import type { Redirect, TurnLimits, TurnServerOptions } from '../options.ts'
import type { AllocationQuota } from '../quota.ts'
import type { Allocation, Relay } from './allocation.ts'
import type { Allocations } from './allocations.ts'
import type { Detours } from './detours.ts'
import type { ResolvedRelay } from './listener-state.ts'
import type { Notify } from './notify.ts'
import type { Meters } from './meters.ts'
import type { PeerGate } from './peer-gate.ts'
import type { PeerPaths } from './peer-paths.ts'
import type { RelayPool } from './relay-pool.ts'
import type { Reservations } from './reservations.ts'
import type { Tickets } from './ticket.ts'

/** Settings in force; a reconfiguration replaces them. */
export interface TurnSettings {
  readonly realm: string
  readonly credentials: CredentialSource
  readonly quota: AllocationQuota
  readonly limits: TurnLimits
  readonly mobility: boolean
  readonly security: NonNullable<TurnServerOptions['security']>
  readonly redirect: Redirect | undefined
  readonly events: NonNullable<TurnServerOptions['events']>
}

/** A connection with a peer that its client has not come for yet. */
export interface WaitingConnection {
  readonly allocation: Allocation
  /** Joins it with the client's own; without one it is cut. */
  take(client: Socket | undefined): void
}

/** What the methods of a TURN server share. */
export interface TurnState {
  settings: TurnSettings
  readonly datapath: Datapath
  readonly clock: Clock
  readonly log: Logger
  readonly random: (bytes: number) => Uint8Array
  readonly notify: Notify
  readonly allocations: Allocations
  /** Clients whose allocation is being made, and the transaction that asked for it. */
  readonly allocating: Map<string, string>
  readonly relays: RelayPool
  readonly reservations: Reservations
  readonly gate: PeerGate
  readonly paths: PeerPaths
  readonly tickets: Tickets
  /** Servers among which clients may move; undefined: this one alone. */
  readonly fleet: TurnFleet | undefined
  /** Clients that have moved here from others of the fleet. */
  readonly detours: Detours
  meters: Meters
  /** Connections with peers that wait for their ConnectionBind, by id (RFC 6062). */
  readonly waitingConnections: Map<number, WaitingConnection>
  /** New allocations are refused. */
  isDraining: boolean
  /** Told when the last allocation and the last detour have gone. */
  onEmpty?: (() => void) | undefined
  /** Opens a relay for TCP peers (RFC 6062). */
  openTcpRelay(where: ResolvedRelay): Promise<readonly Relay[]>
}
