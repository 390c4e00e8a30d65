import type { ConnectionOptions } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { Agent } from 'undici'
import { type Clock, systemClock, type Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../../foundation/lifecycle.ts'
import type {
  Balancer,
  Origin,
  OriginId,
  OriginRegistry,
  StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import { Counter, type Logger, type Registry } from '../../../mechanisms/telemetry/index.ts'
import { originsError } from './errors.ts'
import { OriginWatch, type OriginWatchParts } from './origin-watch.ts'
import { publishedSourceOf, type StreamPlace } from './published-streams.ts'
import { type ResolvedOrigin, resolveOrigin } from './resolved-origin.ts'
import type { StaticOrigin } from './static-origin.ts'
import { StreamPoll, type StreamPollParts } from './stream-poll.ts'

/** Options of the service. */
export interface OriginsServiceOptions {
  readonly balancer: Pick<OriginRegistry, 'announce' | 'suspect' | 'remove' | 'list'> &
    Pick<Balancer, 'follow'>
  readonly logger: Logger
  readonly registry: Registry
  /** The key of a stream that an origin lists. @throws BALANCER_BAD_STREAM_KEY */
  readonly streamKeyOf: (place: StreamPlace) => StreamKey
  /** Origins that do not announce themselves. @defaultValue none */
  readonly origins?: readonly StaticOrigin[]
  /** How often SRS that announced themselves are asked for their streams, in milliseconds. 0: never. @defaultValue 0 */
  readonly followIntervalMs?: number
  /** Whether it is for this gateway to ask an origin for its streams: of many that share what they learn one is enough. @defaultValue it is */
  readonly isAsker?: (id: OriginId) => boolean
  /** How long such an answer may take, in milliseconds. @defaultValue 3000 */
  readonly followTimeoutMs?: number
  /** How certificates of origins are checked, over HTTPS. @defaultValue by the authorities that Node knows */
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'rejectUnauthorized' | 'secureContext'>
  /** Of checks by TCP. @defaultValue the dial of the machine */
  readonly dial?: Dial
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/** An answer that is longer is none; 10,000 streams of SRS have about as much. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024
/** Origins that are asked for their streams at the same time. */
const MAX_CONCURRENT_POLLS = 16

/**
 * Origins that the configuration names: announced to the balancer while they pass their checks. And the streams that are
 * published at origins past the gateways: asked for at intervals, and followed.
 */
export class OriginsService implements Lifecycle {
  readonly #options: OriginsServiceOptions
  readonly #clock: Clock
  readonly #log: Logger
  readonly #checks: Counter<'result'>
  readonly #polls: Counter<'result'>
  #origins: readonly ResolvedOrigin[]
  #run: Run | undefined

  /** @throws ORIGINS_NAME_TAKEN, ORIGINS_BAD_URL, ORIGINS_NO_ENDPOINT, ORIGINS_CANNOT_FOLLOW */
  constructor(options: OriginsServiceOptions) {
    const { origins = [], clock = systemClock, logger, registry } = options
    this.#options = options
    this.#clock = clock
    this.#log = logger.child({ component: 'origins' })
    this.#origins = resolveAll(origins)
    const registers = [registry]
    this.#checks = new Counter({
      name: 'sluice_origin_checks_total',
      help: 'Health checks of static origins by result.',
      labelNames: ['result'],
      registers,
    })
    this.#polls = new Counter({
      name: 'sluice_origin_polls_total',
      help: 'Questions to origins for the streams published there, by result.',
      labelNames: ['result'],
      registers,
    })
  }

  /** Every static origin is registered when this resolves; none has been checked. */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#run !== undefined) return
    signal?.throwIfAborted()
    const run = new Run(this.#watchParts(), this.#pollParts(), this.#options.tls ?? {})
    this.#run = run
    for (const origin of this.#origins) await run.add(origin)
    const { followIntervalMs = 0, followTimeoutMs = 3000 } = this.#options
    if (followIntervalMs > 0) run.followRegistered(this.#options.balancer, followIntervalMs, followTimeoutMs)
  }

  /**
   * Checks other static origins, and gives what puts them in the place of those that are there: the new ones come, those that
   * are missing go with their picks, those that changed are checked anew. @throws what the constructor throws
   */
  prepareUpdate(given: readonly StaticOrigin[]): () => Promise<void> {
    const origins = resolveAll(given)
    return async () => {
      const before = this.#origins
      const run = this.#run
      if (run !== undefined) await this.#apply(run, before, origins)
      this.#origins = origins
    }
  }

  async #apply(
    run: Run,
    before: readonly ResolvedOrigin[],
    origins: readonly ResolvedOrigin[],
  ): Promise<void> {
    for (const { id } of before) {
      if (origins.some((origin) => origin.id === id)) continue
      run.drop(id)
      await this.#options.balancer.remove(id)
      this.#log.info({ origin: id }, 'static origin removed')
    }
    for (const origin of origins) {
      const known = before.find(({ id }) => id === origin.id)
      if (known !== undefined && isDeepStrictEqual(known, origin)) continue
      run.drop(origin.id)
      await run.add(origin)
      this.#log.info(
        { origin: origin.id },
        known === undefined ? 'static origin added' : 'static origin changed',
      )
    }
  }

  /** Static origins stay registered: other gateways may share them. */
  async close(_options?: CloseOptions): Promise<void> {
    const run = this.#run
    this.#run = undefined
    await run?.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #watchParts(): Omit<OriginWatchParts, 'dispatcher'> {
    const { balancer: origins, dial = dialTcp } = this.#options
    const onChecked: OriginWatchParts['onChecked'] = (result) => this.#checks.inc({ result })
    return { origins, dial, clock: this.#clock, log: this.#log, onChecked }
  }

  #pollParts(): Omit<StreamPollParts, 'dispatcher'> {
    const { balancer, streamKeyOf, isAsker = () => true } = this.#options
    const onPolled: StreamPollParts['onPolled'] = (result) => this.#polls.inc({ result })
    return { balancer, streamKeyOf, isAsker, clock: this.#clock, log: this.#log, onPolled }
  }
}

/** All that goes on between start and close. */
class Run {
  readonly #agent: Agent
  readonly #watchParts: OriginWatchParts
  readonly #pollParts: StreamPollParts
  readonly #stopped = new AbortController()
  readonly #static = new Map<OriginId, () => void>()
  /** Of origins that announced themselves. */
  readonly #polls = new Map<OriginId, StreamPoll>()

  constructor(
    watchParts: Omit<OriginWatchParts, 'dispatcher'>,
    pollParts: Omit<StreamPollParts, 'dispatcher'>,
    tls: NonNullable<OriginsServiceOptions['tls']>,
  ) {
    this.#agent = new Agent({
      maxResponseSize: MAX_ANSWER_BYTES,
      connections: 2,
      pipelining: 0,
      connect: tls,
    })
    this.#watchParts = { ...watchParts, dispatcher: this.#agent }
    this.#pollParts = { ...pollParts, dispatcher: this.#agent }
  }

  async add(origin: ResolvedOrigin): Promise<void> {
    const watch = new OriginWatch(origin, this.#watchParts)
    const dropped = new AbortController()
    this.#static.set(origin.id, () => {
      watch.stop()
      dropped.abort()
    })
    await watch.start()
    if (origin.published === undefined) return
    const poll = new StreamPoll(origin.id, origin.published, origin.timeoutMs, this.#pollParts)
    this.#every(origin.published.intervalMs, dropped.signal, () => poll.ask(dropped.signal))
  }

  drop(id: OriginId): void {
    this.#static.get(id)?.()
    this.#static.delete(id)
  }

  followRegistered(origins: Pick<OriginRegistry, 'list'>, intervalMs: number, timeoutMs: number): void {
    this.#every(intervalMs, this.#stopped.signal, async () => {
      const listed = (await origins.list()).filter(
        ({ id, state }) => state !== 'silent' && !this.#static.has(id),
      )
      for (const id of this.#polls.keys())
        if (!listed.some((origin) => origin.id === id)) this.#polls.delete(id)
      const waiting = listed.flatMap((origin) => this.#pollOf(origin, timeoutMs) ?? []).values()
      const work = async (): Promise<void> => {
        for (const poll of waiting) await poll.ask(this.#stopped.signal)
      }
      await Promise.all(Array.from({ length: MAX_CONCURRENT_POLLS }, work))
    })
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    for (const id of this.#static.keys()) this.drop(id)
    await this.#agent.destroy()
  }

  #pollOf({ id, ip, api, urls }: Origin, timeoutMs: number): StreamPoll | undefined {
    const known = this.#polls.get(id)
    if (known !== undefined) return known
    const [port] = api
    const host = ip.includes(':') ? `[${ip}]` : ip
    const source =
      urls === undefined && port !== undefined
        ? publishedSourceOf('srs', `http://${host}:${port}`)
        : undefined
    if (source === undefined) return undefined
    const poll = new StreamPoll(id, source, timeoutMs, this.#pollParts)
    this.#polls.set(id, poll)
    return poll
  }

  /** The next time is counted from when the work is done. */
  #every(intervalMs: number, stopped: AbortSignal, work: () => Promise<void>): void {
    let timer: Timer | undefined
    const again = async (): Promise<void> => {
      try {
        await work()
      } catch (error) {
        this.#pollParts.log.warn({ code: errorCode(error) }, 'origins not asked for their streams')
      }
      if (!stopped.aborted) timer = this.#pollParts.clock.after(intervalMs, () => void again())
    }
    stopped.addEventListener('abort', () => timer?.cancel(), { once: true })
    void again()
  }
}

/** @throws ORIGINS_NAME_TAKEN and what `resolveOrigin` throws */
function resolveAll(origins: readonly StaticOrigin[]): readonly ResolvedOrigin[] {
  const names = new Set<string>()
  for (const { name } of origins) {
    if (names.has(name)) throw originsError('ORIGINS_NAME_TAKEN', `two origins are named ${name}`)
    names.add(name)
  }
  return origins.map(resolveOrigin)
}
