import type { ProxyTraffic, ProxyView, TrafficCounter } from './contract.ts'
import { DayCounts } from './day-counts.ts'

/** What all proxies have together. */
export interface ServerTotals {
  readonly in: DayCounts
  readonly out: DayCounts
  connections: number
}

/** What is known of a proxy besides its traffic. */
export interface ProxyIdentity {
  readonly name: string
  readonly type: string
  readonly user: string
  /** The run id where the client has no other. */
  readonly clientId: string
  readonly startedAtMs: number
  /** Undefined: it never was closed. */
  readonly closedAtMs: number | undefined
}

/** A connection that is open, and how much of it has been counted. */
interface OpenConnection {
  readonly counter: TrafficCounter
  countedIn: number
  countedOut: number
}

/** The books of one proxy, while it is there and after. Bytes get into the days by `collect`. */
export class ProxyStatistics implements ProxyTraffic {
  identity: ProxyIdentity
  /** As it is registered; undefined: it is offline. */
  current: ProxyView | undefined
  readonly in: DayCounts
  readonly out: DayCounts
  /** Since this process began. */
  totalIn = 0
  totalOut = 0
  readonly #server: ServerTotals
  readonly #today: () => number
  readonly #open = new Set<OpenConnection>()
  #datagramsIn = 0
  #datagramsOut = 0

  constructor(
    identity: ProxyIdentity,
    parts: {
      readonly server: ServerTotals
      readonly today: () => number
      readonly in?: DayCounts
      readonly out?: DayCounts
    },
  ) {
    this.identity = identity
    this.#server = parts.server
    this.#today = parts.today
    this.in = parts.in ?? new DayCounts(parts.today())
    this.out = parts.out ?? new DayCounts(parts.today())
  }

  get connections(): number {
    return this.#open.size
  }

  open(counter: TrafficCounter): () => void {
    const connection: OpenConnection = { counter, countedIn: 0, countedOut: 0 }
    this.#open.add(connection)
    this.#server.connections++
    return () => {
      if (!this.#open.delete(connection)) return
      this.#server.connections--
      this.#count(connection, this.#today())
    }
  }

  addIn(bytes: number): void {
    this.#datagramsIn += bytes
  }

  addOut(bytes: number): void {
    this.#datagramsOut += bytes
  }

  /** Counts what has passed since the last time for today. */
  collect(): void {
    const day = this.#today()
    this.#add(day, this.#datagramsIn, this.#datagramsOut)
    this.#datagramsIn = 0
    this.#datagramsOut = 0
    for (const connection of this.#open) this.#count(connection, day)
  }

  #count(connection: OpenConnection, day: number): void {
    const { bytesIn, bytesOut } = connection.counter
    this.#add(day, bytesIn - connection.countedIn, bytesOut - connection.countedOut)
    connection.countedIn = bytesIn
    connection.countedOut = bytesOut
  }

  #add(day: number, bytesIn: number, bytesOut: number): void {
    if (bytesIn > 0) {
      this.in.add(day, bytesIn)
      this.#server.in.add(day, bytesIn)
      this.totalIn += bytesIn
    }
    if (bytesOut > 0) {
      this.out.add(day, bytesOut)
      this.#server.out.add(day, bytesOut)
      this.totalOut += bytesOut
    }
  }
}
