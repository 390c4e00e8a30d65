import type { Lifecycle } from '../../foundation/lifecycle.ts'
import type { ListenerStats, TurnServer } from '../../services/turn/index.ts'

/** What `Stunnerd` asks of a TURN server. */
export type TurnDataplane = Lifecycle &
  Pick<TurnServer, 'allocationCount' | 'listAllocations' | 'listenerStats' | 'update'>

/** Packets and bytes. */
export type TrafficCount = ListenerStats['rx']
