import type { CloseOptions, Lifecycle } from '../../../foundation/lifecycle.ts'
import type { SessionDirectory, SessionInfo } from '../../../foundation/session-info.ts'
import type { LocalAddress } from '../../../mechanisms/datapath/index.ts'
import { Calls } from './calls.ts'
import { Front } from './front.ts'
import { declareMetrics } from './metrics.ts'
import { completeOptions, type SrtServiceOptions } from './options.ts'
import { Sessions } from './sessions.ts'

/**
 * SRT at the edge: callers are led to the origin that carries their stream, and their packets through the datapath.
 * Encryption is between caller and origin. The datapath has to be started.
 *
 * @example
 *   const srt = new SrtService({ listen: [{ port: 10080 }], datapath, balancer, streamKeyOf, logger, registry })
 *   await srt.start()
 */
export class SrtService implements Lifecycle, SessionDirectory {
  readonly #sessions: Sessions
  readonly #calls: Calls
  readonly #front: Front

  /** @throws SRT_BAD_OPTION */
  constructor(options: SrtServiceOptions) {
    const complete = completeOptions(options)
    this.#sessions = new Sessions(complete)
    this.#calls = new Calls(complete, this.#sessions)
    this.#front = new Front(complete, this.#calls, this.#sessions)
    declareMetrics(options.registry, this.#front, this.#calls, this.#sessions)
  }

  /** Binds the ports. @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE */
  async start(): Promise<void> {
    await this.#front.start()
    this.#calls.reopen()
    this.#sessions.start()
  }

  /** Refuses callers (1503), lets running sessions go on for `graceMs`, then shuts them down on both sides. */
  async close({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#calls.drain()
    await this.#calls.settled()
    await this.#sessions.drained(graceMs)
    this.#sessions.endAll('drained')
    this.#sessions.close()
    this.#front.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Where callers are heard at present; empty when not started. */
  get addresses(): readonly LocalAddress[] {
    return this.#front.locals
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  listSessions(): readonly SessionInfo[] {
    this.#sessions.count()
    return Array.from(this.#sessions, (session) => ({
      id: session.id,
      protocol: 'srt',
      role: session.role,
      streamKey: session.streamKey,
      originId: session.originId,
      address: session.caller.address,
      sinceMs: session.sinceMs,
      bytesIn: session.fromCaller.bytes,
      bytesOut: session.fromOrigin.bytes,
    }))
  }

  kickSession(id: string): boolean {
    const session = [...this.#sessions].find((one) => one.id === id)
    if (session === undefined) return false
    this.#sessions.end(session, 'kicked')
    return true
  }
}
