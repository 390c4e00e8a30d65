import { LRUCache } from 'lru-cache'
import { ipToBytes, ipToText } from '../../../foundation/ip-text.ts'
import type { CompleteWebRtcOptions } from './options.ts'

/** Why nothing is asked. */
export type LookupRefusal =
  /** Nobody knew the name a moment ago. */
  | 'remembered'
  /** It is being asked for. */
  | 'joined'
  /** The source had its look-ups of this second. */
  | 'source'
  /** All had. */
  | 'rate'
  /** Too many are on their way. */
  | 'in-flight'

/** What came of asking. */
export type LookupResult = 'found' | 'unknown' | 'failed'

type Bounds = Pick<
  CompleteWebRtcOptions,
  | 'maxLookups'
  | 'lookupsPerSecond'
  | 'lookupsPerSecondPerSource'
  | 'maxLookupSources'
  | 'unknownForMs'
  | 'maxUnknown'
  | 'clock'
>

/**
 * How whoever asks is reached: the address of a datagram may be forged, so a flood of them comes from as many sources as it
 * likes; that of a connection is its own.
 */
export type LookupTransport = 'udp' | 'tcp'

/** Of both bounds on all, what is kept for those whose address is their own. */
const keptShare = 1 / 4

/** A budget of so many a second; the second's worth may go at once. */
interface Budget {
  left: number
  filledAtMs: number
}

/**
 * Holds down what strangers can make the gateway ask the shared store: one datagram with a made-up USERNAME would be one
 * look-up. Whoever asks begins here and ends here.
 */
export class SessionLookups {
  readonly results: Record<LookupRefusal | LookupResult, number> = {
    found: 0,
    unknown: 0,
    failed: 0,
    remembered: 0,
    joined: 0,
    source: 0,
    rate: 0,
    'in-flight': 0,
  }
  readonly #bounds: Bounds
  readonly #inFlight = new Set<string>()
  /** Until when, the next to go first. */
  readonly #unknown = new Map<string, number>()
  readonly #sources: LRUCache<string, Budget>
  readonly #all: Budget

  constructor(bounds: Bounds) {
    this.#bounds = bounds
    this.#sources = new LRUCache({ max: bounds.maxLookupSources })
    this.#all = { left: bounds.lookupsPerSecond, filledAtMs: bounds.clock.nowMs() }
  }

  get inFlight(): number {
    return this.#inFlight.size
  }

  /** Takes a place for one look-up, which `end` gives back; or says why there is none. */
  begin(name: string, address: string, transport: LookupTransport): LookupRefusal | undefined {
    const refusal = this.#refusal(name, address, transport)
    if (refusal === undefined) this.#inFlight.add(name)
    else this.results[refusal]++
    return refusal
  }

  /** Whoever asked has what it wanted, or has done what comes of it. */
  end(name: string, result: LookupResult): void {
    this.#inFlight.delete(name)
    this.results[result]++
    if (result === 'unknown') this.remember(name)
  }

  /** Nobody knows this name, or will in a moment: it is not asked for. */
  remember(name: string): void {
    const { clock, unknownForMs, maxUnknown } = this.#bounds
    this.#unknown.delete(name)
    this.#unknown.set(name, clock.nowMs() + unknownForMs)
    if (this.#unknown.size > maxUnknown) this.#unknown.delete(this.#unknown.keys().next().value ?? '')
  }

  #refusal(name: string, address: string, transport: LookupTransport): LookupRefusal | undefined {
    const { clock, maxLookups, lookupsPerSecond, lookupsPerSecondPerSource } = this.#bounds
    const nowMs = clock.nowMs()
    if (this.#isUnknown(name, nowMs)) return 'remembered'
    if (this.#inFlight.has(name)) return 'joined'
    const source = prefixOf(address)
    const own = this.#sources.get(source) ?? { left: lookupsPerSecondPerSource, filledAtMs: nowMs }
    this.#sources.set(source, own)
    fill(own, lookupsPerSecondPerSource, nowMs)
    if (own.left < 1) return 'source'
    fill(this.#all, lookupsPerSecond, nowMs)
    const kept = (bound: number): number => (transport === 'udp' ? Math.floor(bound * keptShare) : 0)
    if (this.#all.left < 1 + kept(lookupsPerSecond)) return 'rate'
    if (this.#inFlight.size >= maxLookups - kept(maxLookups)) return 'in-flight'
    own.left--
    this.#all.left--
    return undefined
  }

  #isUnknown(name: string, nowMs: number): boolean {
    for (const [one, untilMs] of this.#unknown) {
      if (untilMs > nowMs) break
      this.#unknown.delete(one)
    }
    return this.#unknown.has(name)
  }
}

function fill(budget: Budget, perSecond: number, nowMs: number): void {
  budget.left = Math.min(perSecond, budget.left + ((nowMs - budget.filledAtMs) * perSecond) / 1000)
  budget.filledAtMs = nowMs
}

/** Who gets addresses gets as many: by the /24, and by the /48 of a site. */
function prefixOf(address: string): string {
  const bytes = ipToBytes(address)
  if (bytes === undefined) return address
  return ipToText(bytes.fill(0, bytes.length === 4 ? 3 : 6))
}
