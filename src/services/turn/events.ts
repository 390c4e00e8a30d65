import type { AllocationInfo } from './allocation-info.ts'

/** Why an allocation ended. */
export type AllocationEnd =
  | 'released' // Refresh with lifetime 0
  | 'expired'
  | 'disconnected' // its TCP connection was closed
  | 'killed' // by an operator
  | 'closed' // with the server, or with its listener

/** Whom a client may talk with. */
export interface PermissionInfo {
  readonly allocationId: string
  readonly userId: string
  /** A peer's address; permissions have no port. */
  readonly peerAddress: string
}

/** A channel and the peer that it leads to. */
export interface ChannelInfo {
  readonly allocationId: string
  readonly userId: string
  readonly number: number
  /** `address:port`. */
  readonly peer: string
}

/** Told of what happens; what a callback throws is its own bug and is logged. */
export interface TurnEvents {
  readonly allocationCreated?: (allocation: AllocationInfo) => void
  readonly allocationRefreshed?: (allocation: AllocationInfo) => void
  /** The numbers are final. */
  readonly allocationDeleted?: (allocation: AllocationInfo, end: AllocationEnd) => void
  /** A request with credentials was found to be of its user, or not (401). Those of a known allocation count too. */
  readonly authenticated?: (attempt: {
    readonly method: string
    /** As the client claims it; absent where it hides behind a USERHASH. */
    readonly username?: string
    /** Who it is, when it was accepted. */
    readonly userId?: string
    readonly clientAddress: string
    readonly listener: string
    readonly isAccepted: boolean
  }) => void
  readonly permissionCreated?: (permission: PermissionInfo) => void
  /** It has expired, or its allocation has ended. */
  readonly permissionDeleted?: (permission: PermissionInfo) => void
  readonly channelCreated?: (channel: ChannelInfo) => void
  readonly channelDeleted?: (channel: ChannelInfo) => void
  /** A request was refused after it had been authenticated. */
  readonly requestRefused?: (refused: {
    readonly method: string
    readonly code: number
    readonly userId: string
    readonly clientAddress: string
  }) => void
}
