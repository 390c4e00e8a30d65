import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Joins } from './joins.ts'
import type { VisitedServer } from './visitor-connection.ts'

/** What a visitor stands on. */
export interface VisitorParts {
  /** Of the client. */
  readonly user: string
  /** The login that there is, if any. */
  readonly server: () => VisitedServer | undefined
  /** The visitor that another one falls back to. */
  readonly visitor: (name: string) => Visitor | undefined
  readonly joins: Joins
  readonly datapath: Datapath
  readonly clock: Clock
  /** Carries the visitor's name. */
  readonly log: Logger
}

/** A way from a local port to a proxy of another client (reference §11). */
export interface Visitor {
  readonly config: VisitorConfig
  /** Opens the local port. Rejects when it cannot be had; it may be tried again. */
  start(): Promise<void>
  /**
   * Takes a user's connection, which is paused, from a visitor that could not. False: it takes none.
   * @param depth how many visitors have had it
   */
  accept(user: ByteStream, depth: number): boolean
  /** Closes the port. Resolves when the user connections, which run on, are over; datagrams end. */
  close(): Promise<void>
}
