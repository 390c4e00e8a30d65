import type { TurnListenerOptions } from '../options.ts'

/** A listener as the core sees it. Its options change when it is reconfigured. */
export interface ListenerState {
  options: TurnListenerOptions
  /** Where relayed addresses are, wildcards replaced by an address of this machine. */
  relays: readonly ResolvedRelay[]
  readonly traffic: ListenerTraffic
}

/** Where the relayed addresses of one family are. */
export interface ResolvedRelay {
  readonly family: 4 | 6
  readonly address: string
  readonly advertised: string
  readonly from: number
  readonly to: number
}

/** What went through a listener, seen from it: `rx` came from clients. Whole messages, those of flows included once they have ended. */
export interface ListenerTraffic {
  rxPackets: number
  rxBytes: number
  txPackets: number
  txBytes: number
  /** Clients that had an allocation, since the start. */
  clients: number
}
