import type { Lifecycle } from '../../../foundation/lifecycle.ts'
import { PeersError } from './errors.ts'
import { defaultFollowOptions, FollowedName, type FollowOptions } from './followed-name.ts'

/** How names are followed, and how many. */
export interface ResolvedNamesOptions extends FollowOptions {
  /** Different names that are followed at a time, from 1 to 65,536. @defaultValue 256 */
  readonly maxNames?: number
}

/** The names that one policy follows. */
export interface NameWatch {
  /** Canonical texts; none while the name is not resolved, or not among those that are watched. */
  addressesOf(name: string): readonly string[]
  /** Watches these instead. @throws PEERS_TOO_MANY_NAMES, and then nothing has changed */
  replace(names: ReadonlySet<string>): void
  close(): void
}

/**
 * Knows the addresses of DNS names, by asking in the background. One serves the policies of many listeners: a name that
 * several watch is asked for once. Names are asked for from `start` on; it does not wait for answers, since a DNS that
 * is down keeps no server from starting.
 */
export class ResolvedNames implements Lifecycle {
  readonly #options: Required<ResolvedNamesOptions>
  readonly #followed = new Map<string, FollowedName>()
  readonly #watches = new Set<Watch>()
  #isRunning = false

  /** @throws PEERS_BAD_OPTION */
  constructor(options: ResolvedNamesOptions = {}) {
    this.#options = { ...defaultFollowOptions, maxNames: 256, ...options }
    const { refreshMs, keepMs, maxNames, maxAddressesPerName } = this.#options
    checkRange('refreshMs', refreshMs, 1000, 3_600_000)
    checkRange('keepMs', keepMs, 2 * refreshMs, 86_400_000)
    checkRange('maxNames', maxNames, 1, 65_536)
    checkRange('maxAddressesPerName', maxAddressesPerName, 1, 65_536)
  }

  async start(): Promise<void> {
    this.#isRunning = true
    for (const name of this.#followed.values()) name.start()
  }

  async close(): Promise<void> {
    this.#isRunning = false
    for (const name of this.#followed.values()) name.stop()
  }

  /**
   * Follows names until the watch is closed, and calls back whenever the addresses of one have changed.
   *
   * @throws PEERS_TOO_MANY_NAMES
   */
  watch(names: ReadonlySet<string>, onChange: () => void): NameWatch {
    const watch: Watch = { names: new Set(), onChange }
    this.#replace(watch, names)
    this.#watches.add(watch)
    return {
      addressesOf: (name) => (watch.names.has(name) ? (this.#followed.get(name)?.addresses ?? []) : []),
      replace: (others) => {
        if (this.#watches.has(watch)) this.#replace(watch, others)
      },
      close: () => {
        this.#replace(watch, new Set())
        this.#watches.delete(watch)
      },
    }
  }

  #replace(watch: Watch, names: ReadonlySet<string>): void {
    const others = [...this.#watches].filter((other) => other !== watch)
    const wanted = new Set([...names, ...others.flatMap((other) => [...other.names])])
    const { maxNames } = this.#options
    if (wanted.size > maxNames) {
      throw new PeersError(
        'PEERS_TOO_MANY_NAMES',
        `rules name ${wanted.size} hosts in all, and ${maxNames} are followed`,
      )
    }
    watch.names = names
    for (const [name, followed] of this.#followed) {
      if (wanted.has(name)) continue
      followed.stop()
      this.#followed.delete(name)
    }
    for (const name of wanted) {
      if (this.#followed.has(name)) continue
      const followed = new FollowedName(name, this.#options, () => this.#changed(name))
      this.#followed.set(name, followed)
      if (this.#isRunning) followed.start()
    }
  }

  #changed(name: string): void {
    for (const watch of [...this.#watches]) if (watch.names.has(name)) watch.onChange()
  }
}

interface Watch {
  names: ReadonlySet<string>
  readonly onChange: () => void
}

function checkRange(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new PeersError('PEERS_BAD_OPTION', `${field} ${value}: must be an integer from ${least} to ${most}`)
}
