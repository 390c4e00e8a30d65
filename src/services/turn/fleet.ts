import type { Remote } from '../../mechanisms/datapath/index.ts'

/**
 * The servers among which clients may move with their allocation, all with one `secret`: each knows by a ticket whose
 * allocation it is for, and leads a client that comes to it there.
 */
export interface TurnFleet {
  /** Names this server in the ids of its allocations: 8 hexadecimal digits, another for each server of the fleet. */
  readonly tag: string
  /** Where the server with this tag has a listener by UDP for the others; undefined when none lives that has one. */
  addressOf(tag: string): Remote | undefined
  /** Called with the tag of each server that has gone. The function ends it. */
  onGone(listener: (tag: string) => void): () => void
}
