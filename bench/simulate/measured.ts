import type { CommandName, Filled } from './commands.ts'
import type { MemoryCosts } from './fill.ts'
import type { MixResult } from './mix.ts'

/** What a redis-server on a machine takes. */
export interface Measured {
  readonly date: string
  readonly machine: string
  readonly redis: string
  readonly filled: Filled
  readonly memory: MemoryCosts
  /** Of a command among others in one write. */
  readonly commands: Readonly<Record<CommandName, CommandCost>>
  /** CPU time for a write of its own: what comes on top for each batch, however long. */
  readonly writeUs: number
  /** CPU time for one more subscriber of a channel when something is published there. */
  readonly deliveryUs: number
  /** All that a fleet sends, in turns, from many connections, as fast as it is taken. */
  readonly mix: MixResult
  /** Its CPU time, by the sum of what its commands cost among their like: what comes in turns is not in the caches. */
  readonly mixFactor: number
}

export interface CommandCost {
  readonly cpuUs: number
  readonly requestBytes: number
  readonly replyBytes: number
}
