import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { PortRange } from '../../../mechanisms/frp-config/index.ts'
import { TunnelError } from '../errors.ts'

export interface RemotePortsOptions {
  /** Empty: all. */
  readonly allow: readonly PortRange[]
  readonly clock: Clock
  /** A number from 0 to 1, without 1. */
  readonly random: () => number
}

/** A port that a proxy listens on, with what listens. */
export interface OpenPort<T> {
  readonly port: number
  readonly listener: T
}

/** For so long a port is kept for the name that had it, in milliseconds. */
const reservedMs = 24 * 3_600_000
const maxReserved = 10_000
/** Free ports that are tried before there is `no available port`. */
const maxTries = 200
const everyPort: PortRange = { from: 1024, to: 65_535 }
const mostPort = 65_535

/**
 * The remote ports of one protocol (reference §9): which are allowed, which are in use, and which had whom. A port is taken by
 * listening on it, never by a trial before.
 */
export class RemotePorts {
  readonly #options: RemotePortsOptions
  #allow: readonly PortRange[]
  readonly #used = new Set<number>()
  /** By proxy name, the oldest first. */
  readonly #reserved = new Map<string, { readonly port: number; readonly untilMs: number }>()

  constructor(options: RemotePortsOptions) {
    this.#options = options
    this.#allow = options.allow
  }

  /** Allows other ports from now on; what is open stays open. */
  configure(allow: readonly PortRange[]): void {
    this.#allow = allow
  }

  /**
   * Opens the port asked for; for 0 the one that the name had within a day, else any free one that no other name had.
   *
   * @param open listens on a port, and rejects when it cannot
   * @param within ports that the client may use, beside those of the server
   * @throws TunnelError TUNNEL_PORT in frp's words
   */
  async open<T>(
    name: string,
    wanted: number,
    within: readonly PortRange[] | undefined,
    open: (port: number) => Promise<T>,
  ): Promise<OpenPort<T>> {
    if (wanted !== 0) {
      this.check(wanted, within)
      if (this.#used.has(wanted)) throw portError('port already used')
      const listener = await this.#try(name, wanted, open)
      if (listener === undefined) throw portError('port unavailable')
      return { port: wanted, listener }
    }
    for (const port of this.#candidates(name, within)) {
      const listener = await this.#try(name, port, open)
      if (listener !== undefined) return { port, listener }
    }
    throw portError('no available port')
  }

  /**
   * Whether a port may be asked for; 0 always may.
   * @throws TunnelError TUNNEL_PORT `port not allowed`
   */
  check(wanted: number, within: readonly PortRange[] | undefined): void {
    if (wanted !== 0 && !this.isAllowed(wanted, within)) throw portError('port not allowed')
  }

  /** The proxy is closed, and nothing listens any more. */
  release(name: string, port: number): void {
    this.#used.delete(port)
    this.#reserved.delete(name)
    this.#reserved.set(name, { port, untilMs: this.#options.clock.nowMs() + reservedMs })
    for (const [oldest, { untilMs }] of this.#reserved) {
      if (this.#reserved.size <= maxReserved && untilMs > this.#options.clock.nowMs()) break
      this.#reserved.delete(oldest)
    }
  }

  async #try<T>(name: string, port: number, open: (port: number) => Promise<T>): Promise<T | undefined> {
    // Taken before it listens, so that nobody else is let in meanwhile.
    this.#used.add(port)
    try {
      const listener = await open(port)
      this.#reserved.delete(name)
      return listener
    } catch (error) {
      this.#used.delete(port)
      if (unavailable.has(errorCode(error))) return undefined
      throw error
    }
  }

  *#candidates(name: string, within: readonly PortRange[] | undefined): Generator<number> {
    const own = this.#reserved.get(name)?.port
    if (own !== undefined && this.#isFree(own, within)) yield own
    const allow = this.#allow
    const { random } = this.#options
    const ranges = allow.length === 0 ? (within ?? [everyPort]) : allow
    const size = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0)
    const kept = new Set([...this.#reserved.values()].map(({ port }) => port))
    const start = Math.floor(random() * size)
    // Each port once, from a random one on: a nearly full range is no matter of luck. Those of other names come last.
    let tries = 0
    for (const isOfOthers of [false, true]) {
      for (let index = 0; index < size && tries < maxTries; index++) {
        const port = nthPort(ranges, (start + index) % size)
        if (kept.has(port) !== isOfOthers || !this.#isFree(port, within)) continue
        tries++
        yield port
      }
    }
  }

  #isFree(port: number, within: readonly PortRange[] | undefined): boolean {
    return !this.#used.has(port) && this.isAllowed(port, within)
  }

  /** Whether the server, and `within`, leave the port to clients. */
  isAllowed(port: number, within: readonly PortRange[] | undefined): boolean {
    const allow = this.#allow
    // The number is a client's.
    if (port < 1 || port > mostPort) return false
    return (allow.length === 0 || holds(allow, port)) && (within === undefined || holds(within, port))
  }
}

/** What says that a port is in other hands, rather than that something is wrong. */
const unavailable: ReadonlySet<string> = new Set([
  'NET_PORT_TAKEN',
  'NET_PORT_FORBIDDEN',
  'NET_ADDRESS_UNAVAILABLE',
  'NET_LISTEN_FAILED',
  'DATAPATH_PORT_TAKEN',
  'DATAPATH_PORT_FORBIDDEN',
  'DATAPATH_ADDRESS_UNAVAILABLE',
  'ENOTFOUND',
])

function holds(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ from, to }) => port >= from && port <= to)
}

function nthPort(ranges: readonly PortRange[], index: number): number {
  let left = index
  for (const { from, to } of ranges) {
    const size = to - from + 1
    if (left < size) return from + left
    left -= size
  }
  throw new RangeError(`port ${index} of ${ranges.length} ranges`)
}

function portError(message: string): TunnelError {
  return new TunnelError('TUNNEL_PORT', message, { side: 'client' })
}
