import type { AllocationInfo } from './allocation-info.ts'

/** Why an allocation ended. */
export type AllocationEnd =
  | 'released' // Refresh with lifetime 0
  | 'expired'
  | 'disconnected' // its TCP connection was closed
  | 'killed' // by an operator
  | 'closed' // with the server, or with its listener

/** Told of what happens; what a callback throws is its own bug and is logged. */
export interface TurnEvents {
  readonly allocationCreated?: (allocation: AllocationInfo) => void
  readonly allocationRefreshed?: (allocation: AllocationInfo) => void
  /** The numbers are final. */
  readonly allocationDeleted?: (allocation: AllocationInfo, end: AllocationEnd) => void
  /** A request was refused after it had been authenticated. */
  readonly requestRefused?: (refused: {
    readonly method: string
    readonly code: number
    readonly userId: string
    readonly clientAddress: string
  }) => void
}
