import { lookup } from 'node:dns/promises'
import { type Clock, systemClock, type Timer } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import { ipToBytes, ipToText } from '../../../foundation/ip-text.ts'
import { unmapIpv4 } from './embedded-ipv4.ts'
import { PeersError } from './errors.ts'

/** How names are followed. */
export interface FollowOptions {
  /**
   * Gives every address of a name, IPv4 and IPv6. Rejects with code ENOTFOUND or ENODATA when it has none, with
   * anything else when nobody knows.
   *
   * @defaultValue `lookup` of `node:dns/promises`: it knows /etc/hosts and the search domains that short names of
   * Kubernetes Services need, which `resolve4` and `resolve6` do not. It tells no TTL
   */
  readonly resolve?: (name: string) => Promise<readonly string[]>
  /**
   * Time from an answer to the next question, give or take a tenth so that names and gateways do not ask in step, in
   * milliseconds, from 1000 to 3,600,000. As long as the TTL of Kubernetes' cluster DNS: the pods of a headless Service
   * change that fast.
   *
   * @defaultValue 5000
   */
  readonly refreshMs?: number
  /**
   * How long an answer holds when none comes after it, in milliseconds, from twice `refreshMs` to 86,400,000. Then the
   * name has no addresses, since somebody else may have got them. That it has none takes effect at once.
   *
   * @defaultValue 300,000
   */
  readonly keepMs?: number
  /** Addresses of one name that are admitted, the lowest by text; more are reported. 1 to 65,536. @defaultValue 1024 */
  readonly maxAddressesPerName?: number
  /**
   * Told that a name has no address, gets no answer, or has too many addresses: once, until all is well again.
   *
   * @defaultValue nobody is told
   */
  readonly onError?: (error: PeersError, name: string) => void
  readonly clock?: Clock
  /** Gives numbers from 0 to below 1, for the tenth of `refreshMs`. @defaultValue `Math.random` */
  readonly random?: () => number
}

/** The defaults of `FollowOptions`. */
export const defaultFollowOptions: Required<FollowOptions> = {
  resolve: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  refreshMs: 5000,
  keepMs: 300_000,
  maxAddressesPerName: 1024,
  onError: () => {},
  clock: systemClock,
  random: Math.random,
}

/** One name whose addresses are asked for over and over, one question at a time. */
export class FollowedName {
  readonly #name: string
  readonly #options: Required<FollowOptions>
  readonly #changed: () => void
  #addresses: readonly string[] = []
  #refresh: Timer | undefined
  #expiry: Timer | undefined
  /** Replaced by `stop`, so that an answer that comes afterwards is known as late. */
  #run: object | undefined
  #isReported = false

  constructor(name: string, options: Required<FollowOptions>, changed: () => void) {
    this.#name = name
    this.#options = options
    this.#changed = changed
  }

  /** Canonical texts, ascending. */
  get addresses(): readonly string[] {
    return this.#addresses
  }

  start(): void {
    if (this.#run !== undefined) return
    const run = {}
    this.#run = run
    this.#keep()
    void this.#ask(run)
  }

  /** Leaves no timer behind. The addresses stay. */
  stop(): void {
    this.#run = undefined
    this.#refresh?.cancel()
    this.#expiry?.cancel()
  }

  /** Rejects only by what a callback throws: a bug, and loud as one in a timer. */
  async #ask(run: object): Promise<void> {
    const { resolve, clock, refreshMs, random } = this.#options
    let answer: readonly string[] | undefined
    let failure: unknown
    try {
      answer = await resolve(this.#name)
    } catch (error) {
      failure = error
      if (isNoAddress(error)) answer = []
    }
    if (run !== this.#run) return
    this.#refresh = clock.after(refreshMs * (0.9 + 0.2 * random()), () => void this.#ask(run))
    if (answer === undefined) this.#report('PEERS_NAME_UNRESOLVED', errorMessage(failure), failure)
    else this.#take(answer, failure)
  }

  #take(answer: readonly string[], failure: unknown): void {
    const { maxAddressesPerName } = this.#options
    // Resolvers rotate their answers: in order, so that the same ones are the same, and the same ones are left out.
    const addresses = [...new Set(answer.flatMap(canonical))].sort()
    this.#keep()
    if (addresses.length === 0) {
      this.#report('PEERS_NAME_UNRESOLVED', 'it has no address', failure)
    } else if (addresses.length > maxAddressesPerName) {
      this.#report(
        'PEERS_TOO_MANY_ADDRESSES',
        `${addresses.length} addresses, of which ${maxAddressesPerName} are admitted`,
      )
    } else {
      this.#isReported = false
    }
    this.#put(addresses.slice(0, maxAddressesPerName))
  }

  #keep(): void {
    const { clock, keepMs } = this.#options
    this.#expiry?.cancel()
    this.#expiry = clock.after(keepMs, () => this.#expire())
  }

  #expire(): void {
    // Reported before, unless the resolver never came back.
    this.#report('PEERS_NAME_UNRESOLVED', `no answer for ${this.#options.keepMs} ms`)
    this.#put([])
  }

  #put(addresses: readonly string[]): void {
    if (addresses.join() === this.#addresses.join()) return
    this.#addresses = addresses
    this.#changed()
  }

  #report(code: 'PEERS_NAME_UNRESOLVED' | 'PEERS_TOO_MANY_ADDRESSES', why: string, cause?: unknown): void {
    if (this.#isReported) return
    this.#isReported = true
    this.#options.onError(new PeersError(code, `"${this.#name}": ${why}`, cause), this.#name)
  }
}

function isNoAddress(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOTFOUND' || code === 'ENODATA'
}

function canonical(address: string): readonly string[] {
  const bytes = ipToBytes(address)
  return bytes === undefined ? [] : [ipToText(unmapIpv4(bytes))]
}
