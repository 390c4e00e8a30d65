import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Lifecycle } from '../../../foundation/lifecycle.ts'
import { sourceOf } from '../../../foundation/source-of.ts'
import { type Role, type StreamKeyParts, streamKeyParts } from '../../../mechanisms/balancer/index.ts'
import type { AccessConfig, AccessJwtConfig } from '../../../mechanisms/config/access-config.ts'
import { LinePace, type Logger, type Registry } from '../../../mechanisms/telemetry/index.ts'
import { AccessRules, boundsOf, type RoleRule } from './access-rules.ts'
import { Bandwidth } from './bandwidth.ts'
import type { AccessRequest, Admission, MovableAdmission, ResumedSession, SharedAccess } from './contract.ts'
import { credentialsOf } from './credentials.ts'
import { AccessError } from './errors.ts'
import { GuessGuard } from './guess-guard.ts'
import { Hooks } from './hooks.ts'
import { accessMetrics, type AccessMetrics } from './metrics.ts'
import { RemoteKeys } from './remote-keys.ts'
import { SessionCounts } from './session-counts.ts'
import type { Wish } from './token-claims.ts'
import { Tokens } from './tokens.ts'
import { atWallTime } from './wall-timer.ts'

export interface AccessControlOptions {
  /** `media.access` of the configuration. */
  readonly rules: AccessConfig
  readonly logger: Logger
  readonly registry: Registry
  /** `server_id` of hooks. @defaultValue random at each start */
  readonly serverId?: string
  /** Questions to one hook URL that are on their way at a time. @defaultValue 64 */
  readonly maxHooksInFlight?: number
  /** Questions, and notices, that wait for one hook URL; further questions count as not answered, the oldest notice is dropped. @defaultValue 10,000 */
  readonly maxHooksWaiting?: number
  /** How long `close` waits for `on_unpublish` and `on_stop` to be told, in milliseconds. @defaultValue 2000 */
  readonly lastWordsMs?: number
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

const defaults = { maxHooksInFlight: 64, maxHooksWaiting: 10_000, lastWordsMs: 2000, clock: systemClock }

/** What let a session in; `name` names the key, not the credential. */
interface Proof {
  readonly name: string
  readonly endsAtMs?: number
}

/** A bound on bytes per second, by what shares it. */
interface Rate {
  readonly name: string
  readonly bytesPerSecond: number
  readonly burstBytes: number
}

/** A session that is let in. */
interface Live {
  readonly role: Role
  readonly parts: StreamKeyParts
  /** Wall time, in milliseconds. */
  readonly endsAtMs: number | undefined
  /** Undefined where none was needed, and where another gateway asked for it. */
  readonly proof: Proof | undefined
  readonly ending: AbortController
}

/**
 * Decides by the rules of the configuration: address, then key or token, then limits, then hooks. The first that says no
 * ends it, so hook servers are only asked about who passes the rest.
 */
export class AccessControl implements SharedAccess, Lifecycle {
  readonly #options: AccessControlOptions & typeof defaults
  readonly #log: Logger
  readonly #metrics: AccessMetrics
  readonly #refusals: LinePace
  readonly #guard: GuessGuard
  readonly #hooks: Hooks
  readonly #counts = new SessionCounts()
  readonly #bandwidth: Bandwidth
  readonly #live = new Set<Live>()
  /** By URL and how it is asked. */
  #remoteKeys = new Map<string, RemoteKeys>()
  #rules: AccessRules
  #isClosed = false

  /** @throws ACCESS_BAD_OPTION */
  constructor(options: AccessControlOptions) {
    this.#options = { ...defaults, ...options }
    const { clock, registry, maxHooksInFlight, maxHooksWaiting } = this.#options
    this.#log = options.logger.child({ component: 'access' })
    this.#metrics = accessMetrics(registry, () => this.#sessionCounts())
    this.#refusals = new LinePace(clock)
    this.#guard = new GuessGuard(clock)
    this.#bandwidth = new Bandwidth(clock)
    this.#hooks = new Hooks({
      serverId: options.serverId,
      maxInFlight: maxHooksInFlight,
      maxWaiting: maxHooksWaiting,
      clock,
      logger: this.#log,
      metrics: this.#metrics,
    })
    this.#rules = this.#compile(options.rules)
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Tells hook servers what waits, for `lastWordsMs` at most. Sessions are to be ended before. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#hooks.close(this.#options.lastWordsMs)
    await Promise.all([...this.#remoteKeys.values()].map((keys) => keys.close()))
    this.#bandwidth.close()
  }

  /**
   * Checks other rules, and gives what puts them in force. Sessions go on, also where they would not be let in now, but for
   * those whose key was taken away: the one that let them in is in the rule for their stream no more, and that is not open.
   *
   * @throws ACCESS_BAD_OPTION
   */
  prepareReload(rules: AccessConfig): () => void {
    const compiled = this.#compile(rules)
    return () => {
      this.#rules = compiled
      this.#hooks.keepOnly(compiled.hookUrls)
      for (const session of this.#live) {
        if (!this.#holds(session)) this.#cut(session, revoked(), 'revoked')
      }
    }
  }

  async admit(request: AccessRequest): Promise<MovableAdmission> {
    const { protocol, role } = request
    try {
      const admission = await this.#decide(request)
      this.#metrics.decisions.inc({ protocol, role, result: 'allowed' })
      return admission
    } catch (error) {
      const isRefusal = error instanceof AccessError
      const result = isRefusal ? error.code.slice('ACCESS_'.length).toLowerCase() : 'aborted'
      this.#metrics.decisions.inc({ protocol, role, result })
      if (isRefusal) this.#tell(request, error)
      throw error
    }
  }

  resume(resumed: ResumedSession): MovableAdmission {
    const { protocol, role, key, address, endsAtMs } = resumed
    if (this.#isClosed) throw closed()
    if (endsAtMs !== undefined && endsAtMs <= this.#options.clock.wallMs()) throw expired()
    const parts = streamKeyParts(key)
    const rule = this.#rules.find(parts, role)
    const { counts, rates } = rule === undefined ? unbounded : boundsOf(rule, role, key, parts, address)
    const names = counts.map(({ name }) => name)
    this.#counts.add(names)
    const session: Live = { role, parts, endsAtMs, proof: undefined, ending: new AbortController() }
    this.#metrics.decisions.inc({ protocol, role, result: 'resumed' })
    return this.#admission(session, { names, rates }, () => {
      if (rule !== undefined) this.#hooks.ended(rule.hooks, { ...resumed, query: '' })
    })
  }

  /** Neither the query nor what it was refused for with is in the line: one for each source, whatever it asks for. */
  #tell({ address, protocol, role, key }: AccessRequest, { code, message: reason }: AccessError): void {
    const source = sourceOf(address)
    const due = this.#refusals.due(source)
    if (due !== undefined)
      this.#log.info({ source, protocol, role, stream: key, code, reason, ...due }, 'refused')
  }

  async #decide(request: AccessRequest): Promise<MovableAdmission> {
    if (this.#isClosed) throw closed()
    request.signal?.throwIfAborted()
    const { role, key, address } = request
    const parts = streamKeyParts(key)
    const rule = this.#rules.find(parts, role)
    if (rule === undefined || rule.policy === 'deny') {
      throw new AccessError('ACCESS_DENIED', `nobody may ${role} here`)
    }
    if (rule.denyFrom.has(address) || rule.allowFrom?.has(address) === false) {
      throw new AccessError('ACCESS_ADDRESS_DENIED', `this address may not ${role} here`)
    }
    const proof = rule.policy === 'open' ? undefined : await this.#prove(rule, request, { ...parts, role })
    const { counts, rates } = boundsOf(rule, role, key, parts, address)
    const full = this.#counts.take(counts)
    if (full !== undefined) {
      const [, what = ''] = full.split(' ')
      throw new AccessError('ACCESS_TOO_MANY', `there are too many sessions of this ${what}`)
    }
    const names = counts.map(({ name }) => name)
    try {
      await this.#hooks.ask(rule.hooks, request)
    } catch (error) {
      this.#counts.give(names)
      throw error
    }
    const session: Live = { role, parts, endsAtMs: proof?.endsAtMs, proof, ending: new AbortController() }
    const admission = this.#admission(session, { names, rates }, () => this.#hooks.ended(rule.hooks, request))
    // Rules may have changed, or the token run out, while others were asked.
    if (!this.#holds(session)) this.#cut(session, revoked(), 'revoked')
    if (session.ending.signal.aborted) {
      admission.end()
      throw session.ending.signal.reason
    }
    return admission
  }

  /** @throws ACCESS_CREDENTIALS_MISSING, ACCESS_CREDENTIALS_WRONG, ACCESS_EXPIRED, ACCESS_KEYS_AWAY, ACCESS_TOO_MANY */
  async #prove(rule: RoleRule, request: AccessRequest, wish: Wish): Promise<Proof> {
    const { keys, tokens, keyParameter, tokenParameter, wrongPerMinute } = rule
    const sentKeys = keys.size === 0 ? [] : credentialsOf(request, keyParameter)
    const sentTokens = tokens === undefined ? [] : credentialsOf(request, tokenParameter)
    const sent = [...new Set([...sentKeys, ...sentTokens])]
    if (sent.length === 0) {
      throw new AccessError('ACCESS_CREDENTIALS_MISSING', 'a key or a token is needed')
    }
    const source = sourceOf(request.address)
    const allowed = new Set(this.#guard.allowed(source, sent, wrongPerMinute))
    for (const text of sentKeys) {
      const name = allowed.has(text) ? keys.find(text) : undefined
      if (name === undefined) continue
      this.#guard.right(source, text)
      return { name }
    }
    let fault: AccessError | undefined
    for (const text of sentTokens) {
      if (!allowed.has(text)) continue
      try {
        const good = await tokens?.check(text, wish)
        if (good === undefined) continue
        this.#guard.right(source, text)
        return { name: good.signedBy, ...(good.endsAtMs !== undefined && { endsAtMs: good.endsAtMs }) }
      } catch (error) {
        if (!(error instanceof AccessError)) throw error
        fault ??= error
      }
    }
    // A token that is rightly signed is not guessed, whatever else is wrong with it.
    if (fault !== undefined) throw fault
    this.#guard.wrong(source)
    if (allowed.size < sent.length) {
      const message = 'too many wrong keys or tokens came from this address; try again in a minute'
      throw new AccessError('ACCESS_TOO_MANY', message)
    }
    throw new AccessError('ACCESS_CREDENTIALS_WRONG', 'the key or token is wrong')
  }

  /** What was counted is given back when it is over. `onEnd`: unless it goes on elsewhere. */
  #admission(
    session: Live,
    taken: { readonly names: readonly string[]; readonly rates: readonly Rate[] },
    onEnd: () => void,
  ): MovableAdmission {
    const { clock } = this.#options
    const { endsAtMs, ending } = session
    const limits: Admission['limits'] = taken.rates.map(({ name, bytesPerSecond, burstBytes }) =>
      this.#bandwidth.take(name, bytesPerSecond, burstBytes),
    )
    this.#live.add(session)
    const expiry =
      endsAtMs === undefined
        ? undefined
        : atWallTime(clock, endsAtMs, () => this.#cut(session, expired(), 'expired'))
    const leave = (then: () => void): void => {
      if (!this.#live.delete(session)) return
      expiry?.cancel()
      for (const limit of limits) this.#bandwidth.give(limit)
      this.#counts.give(taken.names)
      then()
    }
    return {
      limits,
      signal: ending.signal,
      ...(endsAtMs !== undefined && { endsAtMs }),
      end: () => leave(onEnd),
      handOver: () => leave(() => {}),
    }
  }

  /** Whether what let a session in is still a key in the rule for its stream. */
  #holds({ proof, parts, role }: Live): boolean {
    if (proof === undefined) return true
    const rule = this.#rules.find(parts, role)
    if (rule === undefined || rule.policy === 'deny') return false
    if (rule.policy === 'open') return true
    return rule.keys.has(proof.name) || rule.tokens?.has(proof.name) === true
  }

  #cut({ ending }: Live, why: AccessError, reason: 'expired' | 'revoked'): void {
    if (ending.signal.aborted) return
    this.#metrics.ended.inc({ reason })
    ending.abort(why)
  }

  #compile(config: AccessConfig): AccessRules {
    const used = new Map<string, RemoteKeys>()
    const rules = new AccessRules(
      config,
      (jwt) => new Tokens(jwt, this.#remoteOf(jwt, used), this.#options.clock),
    )
    // Those in use go on with what they have fetched.
    for (const [name, keys] of this.#remoteKeys) if (!used.has(name)) void keys.close()
    this.#remoteKeys = used
    return rules
  }

  #remoteOf(jwt: AccessJwtConfig, used: Map<string, RemoteKeys>): RemoteKeys | undefined {
    const { jwksUrl: url, jwksTimeoutSeconds, jwksMaxAgeSeconds, jwksCooldownSeconds } = jwt
    if (url === undefined) return undefined
    const name = JSON.stringify([url, jwksTimeoutSeconds, jwksMaxAgeSeconds, jwksCooldownSeconds])
    const known = used.get(name) ?? this.#remoteKeys.get(name)
    const keys =
      known ??
      new RemoteKeys({
        url,
        timeoutMs: jwksTimeoutSeconds * 1000,
        maxAgeMs: jwksMaxAgeSeconds * 1000,
        cooldownMs: jwksCooldownSeconds * 1000,
        clock: this.#options.clock,
        logger: this.#log,
        onFetch: (result) => this.#metrics.keyFetches.inc({ result }),
      })
    used.set(name, keys)
    return keys
  }

  #sessionCounts(): Record<Role, number> {
    const counts = { publish: 0, play: 0 }
    for (const { role } of this.#live) counts[role]++
    return counts
  }
}

const unbounded = { counts: [], rates: [] } as const

function closed(): AccessError {
  return new AccessError('ACCESS_CLOSED', 'the gateway is going down')
}

function expired(): AccessError {
  return new AccessError('ACCESS_EXPIRED', 'the token has expired')
}

function revoked(): AccessError {
  return new AccessError('ACCESS_REVOKED', 'the key was taken away')
}
