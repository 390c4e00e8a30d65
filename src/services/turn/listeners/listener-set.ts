import { errorCode } from '../../../foundation/errors.ts'
import type { Certificate } from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { ListenerState } from '../core/listener-state.ts'
import type { TurnListenerOptions } from '../options.ts'
import { resolveRelays } from '../resolve-relays.ts'
import { type BoundListener, CONNECTION_REFUSALS, type ConnectionRefusal } from './listener.ts'

export interface ListenerSetOptions {
  readonly create: (state: ListenerState) => BoundListener
  /** Told when rules about peers have changed. */
  readonly onRules: () => void
  /** Told before a listener closes. */
  readonly onClosing: (state: ListenerState) => void
  readonly log: Logger
}

/** A listener that is open. */
export interface OpenListener {
  readonly state: ListenerState
  readonly bound: BoundListener
  endRulesWatch: () => void
}

/** The listeners of a server by name, and how they become others while it runs. */
export class ListenerSet {
  readonly #options: ListenerSetOptions
  readonly #open = new Map<string, OpenListener>()
  /** What was asked for last. */
  #wanted: readonly TurnListenerOptions[]
  /** Of listeners that are gone. */
  readonly #refusals: Record<ConnectionRefusal, number> = {
    'over-cap': 0,
    'bad-proxy-header': 0,
    'failed-handshake': 0,
    overdue: 0,
    displaced: 0,
  }

  /** Nothing is opened yet. */
  constructor(wanted: readonly TurnListenerOptions[], options: ListenerSetOptions) {
    this.#wanted = wanted
    this.#options = options
  }

  /** Those that are open, by name. */
  get open(): ReadonlyMap<string, OpenListener> {
    return this.#open
  }

  /** Connections that came to nothing, save those over the cap, of listeners that are gone too. */
  get refusals(): Readonly<Record<ConnectionRefusal, number>> {
    const sum = { ...this.#refusals }
    for (const { bound } of this.#open.values()) addRefusals(sum, bound)
    return sum
  }

  /** Opens all; what has been opened stays so when one fails. @throws what binding throws, TURN_NO_RELAY_ADDRESS */
  async start(): Promise<void> {
    for (const options of this.#wanted) await this.#openOne(options)
  }

  async close(): Promise<void> {
    for (const name of [...this.#open.keys()]) await this.#closeOne(name)
  }

  /** @throws what `BoundListener.setCertificate` throws */
  setCertificate(name: string, certificate: Certificate): void {
    const listener = this.#open.get(name)
    if (listener === undefined) return
    listener.bound.setCertificate?.(certificate)
    listener.state.options = { ...listener.state.options, certificate }
  }

  /**
   * Opens, closes and changes listeners so that there are these; gives the names of those that had to be opened anew.
   *
   * @throws what opening throws; then those that were are there again, a lost one is logged
   */
  async update(wanted: readonly TurnListenerOptions[]): Promise<readonly string[]> {
    const before = this.#wanted
    const byName = new Map(wanted.map((listener) => [listener.name, listener]))
    const resolved = new Map(
      await Promise.all(wanted.map(async ({ name, relays }) => [name, await resolveRelays(relays)] as const)),
    )
    // First what can fail and leaves no trace.
    this.#setCertificates(wanted)
    const restarted: string[] = []
    try {
      for (const [name, { state }] of [...this.#open]) {
        const options = byName.get(name)
        if (options === undefined) await this.#closeOne(name)
        else if (needsRestart(state.options, options)) {
          restarted.push(name)
          await this.#closeOne(name)
        }
      }
      for (const options of wanted) if (!this.#open.has(options.name)) await this.#openOne(options)
    } catch (error) {
      await this.#restore(before)
      throw error
    }
    for (const options of wanted) {
      const listener = this.#open.get(options.name)
      if (listener === undefined) continue
      listener.state.options = options
      listener.state.relays = resolved.get(options.name) ?? listener.state.relays
      listener.endRulesWatch()
      listener.endRulesWatch = options.peers.onChange(this.#options.onRules)
    }
    this.#wanted = wanted
    return restarted
  }

  async #openOne(options: TurnListenerOptions): Promise<void> {
    const state: ListenerState = {
      options,
      relays: await resolveRelays(options.relays),
      traffic: { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, clients: 0 },
    }
    const bound = this.#options.create(state)
    await bound.start()
    this.#open.set(options.name, {
      state,
      bound,
      endRulesWatch: options.peers.onChange(this.#options.onRules),
    })
  }

  async #closeOne(name: string): Promise<void> {
    const listener = this.#open.get(name)
    if (listener === undefined) return
    this.#open.delete(name)
    listener.endRulesWatch()
    this.#options.onClosing(listener.state)
    addRefusals(this.#refusals, listener.bound)
    await listener.bound.close()
  }

  /** Puts the certificates of all listeners that stay in force, or none. */
  #setCertificates(wanted: readonly TurnListenerOptions[]): void {
    const changed: OpenListener[] = []
    try {
      for (const options of wanted) {
        const { name, certificate } = options
        const listener = this.#open.get(name)
        if (listener === undefined || certificate === undefined) continue
        // It comes with its new listener.
        if (needsRestart(listener.state.options, options)) continue
        listener.bound.setCertificate?.(certificate)
        changed.push(listener)
      }
    } catch (error) {
      for (const { bound, state } of changed) {
        if (state.options.certificate !== undefined) bound.setCertificate?.(state.options.certificate)
      }
      throw error
    }
  }

  async #restore(before: readonly TurnListenerOptions[]): Promise<void> {
    const names = new Set(before.map(({ name }) => name))
    for (const name of [...this.#open.keys()]) if (!names.has(name)) await this.#closeOne(name)
    this.#setCertificates(before)
    for (const options of before) {
      if (this.#open.has(options.name)) continue
      try {
        await this.#openOne(options)
      } catch (error) {
        this.#options.log.error(
          { listener: options.name, code: errorCode(error), err: error },
          'listener lost: cannot be opened again',
        )
      }
    }
  }
}

function addRefusals(to: Record<ConnectionRefusal, number>, { refusals }: BoundListener): void {
  if (refusals === undefined) return
  for (const reason of CONNECTION_REFUSALS) if (reason !== 'over-cap') to[reason] += refusals[reason]
}

/** Whether the same port cannot go on with these options. */
function needsRestart(before: TurnListenerOptions, after: TurnListenerOptions): boolean {
  return (
    before.transport !== after.transport ||
    before.listen.host !== after.listen.host ||
    before.listen.port !== after.listen.port ||
    String(before.proxyProtocolFrom ?? []) !== String(after.proxyProtocolFrom ?? []) ||
    // ALPN offers HTTP or does not, and that was said when the port was opened.
    (after.transport === 'tls' && (before.onHttp === undefined) !== (after.onHttp === undefined))
  )
}
