import { randomBytes } from 'node:crypto'
import type { Clock } from '../../../foundation/clock.ts'
import type { AccessHooksConfig } from '../../../mechanisms/config/access-config.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { AccessRequest } from './contract.ts'
import { AccessError } from './errors.ts'
import { type HookAction, hookBody, type HookSender } from './hook-event.ts'
import { HookNotices } from './hook-notices.ts'
import { type HookResult, HookServer } from './hook-server.ts'
import type { AccessMetrics } from './metrics.ts'

export interface HooksOptions {
  /** Names this gateway in hooks. @defaultValue random */
  readonly serverId: string | undefined
  readonly maxInFlight: number
  readonly maxWaiting: number
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: AccessMetrics
}

interface Target {
  readonly server: HookServer
  readonly notices: HookNotices
  /** When a line was written last that it is away. */
  loggedMs: number
}

const LOG_INTERVAL_MS = 60_000
/** How long a server that is in no rule any more is told what waits. */
const LEAVE_MS = 30_000

/** The hook servers of all rules: one set of connections and one queue for each URL. Whoever makes it closes it. */
export class Hooks {
  readonly #options: HooksOptions
  readonly #sender: HookSender
  readonly #targets = new Map<string, Target>()
  /** Those that no rule has any more, until they are closed. */
  readonly #leaving = new Map<Target, Promise<void>>()
  #isClosed = false

  constructor(options: HooksOptions) {
    this.#options = options
    this.#sender = {
      serverId: options.serverId ?? `vid-${randomBytes(4).toString('hex').slice(0, 7)}`,
      serviceId: randomBytes(4).toString('hex'),
    }
  }

  /**
   * Asks one after the other whether the session may begin. When that fails after one of them may have taken the session
   * for begun, all of `onUnpublish` or `onStop` are told that it is over.
   *
   * @throws ACCESS_HOOK_DENIED, ACCESS_HOOK_AWAY; the reason of the signal of the request when that was aborted
   */
  async ask(config: AccessHooksConfig, request: AccessRequest): Promise<void> {
    const [action, urls] =
      request.role === 'publish'
        ? (['on_publish', config.onPublish] as const)
        : (['on_play', config.onPlay] as const)
    if (urls.length === 0) return
    const body = hookBody(action, request, this.#sender)
    let isTaken = false
    try {
      for (const url of urls) {
        const result = await this.#askOne(url, action, body, config, request.signal)
        isTaken ||= result === 'agreed' || result === 'late' || result === 'aborted'
        request.signal?.throwIfAborted()
        if (result === 'denied') {
          throw new AccessError('ACCESS_HOOK_DENIED', `${wordOf(action)} was refused by the application`)
        }
        if (result !== 'agreed' && config.whenAway === 'deny') {
          throw new AccessError('ACCESS_HOOK_AWAY', 'the application that decides does not answer')
        }
      }
    } catch (error) {
      if (isTaken) this.ended(config, request)
      throw error
    }
  }

  /** Tells that a session is over, in the background. */
  ended(config: AccessHooksConfig, request: AccessRequest): void {
    const [action, urls] =
      request.role === 'publish'
        ? (['on_unpublish', config.onUnpublish] as const)
        : (['on_stop', config.onStop] as const)
    if (urls.length === 0) return
    if (this.#isClosed) {
      this.#options.metrics.noticesDropped.inc(urls.length)
      return
    }
    const body = hookBody(action, request, this.#sender)
    for (const url of urls) this.#targetOf(url).notices.tell(body, config.timeoutSeconds * 1000)
  }

  /** Lets go of servers that no rule has any more, once they have answered and were told what waits. */
  keepOnly(urls: ReadonlySet<string>): void {
    for (const [url, target] of this.#targets) {
      if (urls.has(url)) continue
      this.#targets.delete(url)
      this.#leaving.set(
        target,
        leave(target).finally(() => this.#leaving.delete(target)),
      )
    }
  }

  /** Sends notices that wait, for so long at most, and ends all that is asked. */
  async close(waitMs: number): Promise<void> {
    this.#isClosed = true
    const targets = [...this.#targets.values()]
    this.#targets.clear()
    // These had their time; without their server they end at once.
    for (const { server } of this.#leaving.keys()) void server.close()
    await Promise.all([
      ...this.#leaving.values(),
      ...targets.map(async ({ server, notices }) => {
        await notices.close(waitMs)
        await server.close()
      }),
    ])
  }

  async #askOne(
    url: string,
    action: HookAction,
    body: string,
    config: AccessHooksConfig,
    signal: AbortSignal | undefined,
  ): Promise<HookResult> {
    const { clock, metrics, logger } = this.#options
    const target = this.#targetOf(url)
    const sinceMs = clock.nowMs()
    const { result, reason } = await target.server.ask(body, config.timeoutSeconds * 1000, signal)
    metrics.hookSeconds.observe({ event: action, result }, (clock.nowMs() - sinceMs) / 1000)
    if (result === 'agreed' || result === 'denied' || result === 'aborted') return result
    if (clock.nowMs() - target.loggedMs >= LOG_INTERVAL_MS) {
      target.loggedMs = clock.nowMs()
      logger.warn(
        { url: withoutQuery(url), result, reason, whenAway: config.whenAway },
        'a hook is not answered',
      )
    }
    return result
  }

  #targetOf(url: string): Target {
    const known = this.#targets.get(url)
    if (known !== undefined) return known
    const { clock, logger, metrics, maxInFlight, maxWaiting } = this.#options
    const server = new HookServer({ url, maxInFlight, maxWaiting, clock })
    const notices = new HookNotices({
      server,
      url: withoutQuery(url),
      maxWaiting,
      clock,
      logger,
      onDrop: (count) => metrics.noticesDropped.inc(count),
    })
    const target = { server, notices, loggedMs: Number.NEGATIVE_INFINITY }
    this.#targets.set(url, target)
    return target
  }
}

async function leave({ server, notices }: Target): Promise<void> {
  await notices.close(LEAVE_MS)
  await server.idle()
  await server.close()
}

/** What may be in a log: queries hold passwords now and then. */
function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

function wordOf(action: HookAction): string {
  return action === 'on_publish' ? 'publishing' : 'playing'
}
