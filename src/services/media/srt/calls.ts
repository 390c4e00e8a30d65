import { errorCode, errorMessage, SluiceError } from '../../../foundation/errors.ts'
import type { OriginId } from '../../../mechanisms/balancer/index.ts'
import { encodeHandshake, RejectReason, rejection } from '../../../protocols/srt/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import type { Caller } from './caller.ts'
import { rejectReasonFor, SrtError } from './errors.ts'
import { OriginAddresses } from './origin-addresses.ts'
import { findOrigin } from './origin-search.ts'
import type { CompleteSrtOptions } from './options.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import { streamRequestOf } from './stream-request.ts'

/** How long a refused caller that repeats its conclusion gets the same answer, in milliseconds; callers give up after 3000. */
const REFUSAL_KEPT_MS = 3000

/** A call that is being answered. */
interface Dialogue {
  readonly source: string
  readonly abort: AbortController
}

interface Refusal {
  readonly packet: Buffer
  readonly untilMs: number
}

/**
 * Calls from a conclusion with a good cookie to a session, or a refusal. Each is a dialogue of its own, which keeps nobody
 * waiting, is bounded in time and number, and is there once however often the caller repeats its conclusion.
 */
export class Calls {
  /** Refused callers by code, and origins that failed, for the metrics. */
  readonly refused: Map<string, number> = new Map()
  readonly originFailures: Map<string, number> = new Map()
  readonly #options: CompleteSrtOptions
  readonly #sessions: Sessions
  readonly #addresses: OriginAddresses
  readonly #log: LinePace
  /** By the caller's key. */
  readonly #dialogues = new Map<string, Dialogue>()
  readonly #dialoguesOf = new Map<string, number>()
  /** By `refusalKey`, the oldest first. */
  readonly #refusals = new Map<string, Refusal>()
  readonly #running = new Set<Promise<void>>()
  #isDraining = false

  constructor(options: CompleteSrtOptions, sessions: Sessions) {
    this.#options = options
    this.#sessions = sessions
    this.#addresses = new OriginAddresses(options)
    this.#log = new LinePace(options.clock)
  }

  /** Calls that are being answered. */
  get dialogues(): number {
    return this.#dialogues.size
  }

  /** A caller has concluded, for the first time or again. */
  take(caller: Caller): void {
    const { key, proof } = caller
    const known = this.#sessions.byKey(key)
    if (known?.caller.proof === proof) {
      this.#sessions.answer(known)
      return
    }
    if (known !== undefined) this.#sessions.end(known, 'replaced')
    if (this.#dialogues.has(key)) return
    const refusal = this.#refusals.get(refusalKey(caller))
    if (refusal !== undefined && this.#options.clock.nowMs() < refusal.untilMs) {
      this.#send(caller, refusal.packet)
      return
    }
    const moved = this.#sessions.byProof(proof)
    if (moved !== undefined) {
      this.#sessions.move(moved, caller)
      return
    }
    this.#begin(caller)
  }

  /** Refuses further callers, and those whose dialogue is under way. */
  drain(): void {
    this.#isDraining = true
    for (const { abort } of this.#dialogues.values()) abort.abort(draining())
  }

  /** Takes callers again. */
  reopen(): void {
    this.#isDraining = false
  }

  /** Resolves when no dialogue is under way; after `drain`. */
  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  #begin(caller: Caller): void {
    const { key, source } = caller
    const fault = this.#faultOf(caller)
    if (fault !== undefined) {
      this.#refuse(caller, fault)
      return
    }
    const abort = new AbortController()
    this.#dialogues.set(key, { source, abort })
    this.#dialoguesOf.set(source, (this.#dialoguesOf.get(source) ?? 0) + 1)
    const run = this.#run(caller, abort).catch((error: unknown) => {
      this.#options.logger.error(
        { code: errorCode(error), err: error },
        'an SRT caller could not be answered',
      )
    })
    const running: Promise<void> = run.finally(() => {
      this.#dialogues.delete(key)
      const left = (this.#dialoguesOf.get(source) ?? 1) - 1
      if (left > 0) this.#dialoguesOf.set(source, left)
      else this.#dialoguesOf.delete(source)
      this.#running.delete(running)
    })
    this.#running.add(running)
  }

  /** Why a call is not even begun. */
  #faultOf({ conclusion, source }: Caller): SrtError | undefined {
    const { maxSessions, maxSessionsPerSource, maxDialogues, maxDialoguesPerSource } = this.#options
    if (this.#isDraining) return draining()
    if (conclusion.version < 5) {
      const message = `handshake version ${conclusion.version}`
      return new SrtError('SRT_OLD_VERSION', message, { reason: RejectReason.version })
    }
    const ofSource = this.#dialoguesOf.get(source) ?? 0
    if (this.#dialogues.size >= maxDialogues || ofSource >= maxDialoguesPerSource) {
      return tooMany('SRT_TOO_MANY_DIALOGUES', 'too many calls at a time')
    }
    const isFull = this.#sessions.size + this.#dialogues.size >= maxSessions
    if (isFull || this.#sessions.countOf(source) + ofSource >= maxSessionsPerSource) {
      return tooMany('SRT_TOO_MANY_SESSIONS', 'too many sessions')
    }
    return undefined
  }

  async #run(caller: Caller, abort: AbortController): Promise<void> {
    const { clock, dialogueTimeoutMs } = this.#options
    const timer = clock.after(dialogueTimeoutMs, () => abort.abort(dialogueTimeout()))
    try {
      await this.#answer(caller, abort.signal)
    } catch (error) {
      this.#refuse(caller, error)
    } finally {
      timer.cancel()
    }
  }

  async #answer(caller: Caller, signal: AbortSignal): Promise<void> {
    const { access, datapath, logger, random } = this.#options
    const request = streamRequestOf(caller.conclusion, this.#options)
    const { key, role, query, bearer, tcUrl } = request
    const id = random(8).toString('hex')
    const admission = await access.admit({
      protocol: 'srt',
      role,
      key,
      address: caller.address,
      query,
      ...(bearer !== undefined && { bearer }),
      tcUrl,
      sessionId: id,
      signal,
    })
    try {
      signal.throwIfAborted()
      admission.signal.throwIfAborted()
      let session: Session | undefined
      let isMoved = false
      const context = {
        conclusion: caller.conclusion,
        signal: AbortSignal.any([signal, admission.signal]),
        isFree: (socket: number) => this.#sessions.isFree(caller, socket),
        onMoved: () => {
          isMoved = true
          if (session !== undefined) this.#sessions.end(session, 'moved')
        },
        onFailure: (origin: OriginId, error: SrtError) => this.#onOriginFailure(origin, error),
      }
      const found = await findOrigin(request, context, this.#options, this.#addresses)
      try {
        session = this.#sessions.open({ ...found, id, caller, streamKey: key, role, admission })
      } catch (error) {
        found.hold.end()
        datapath.closeEndpoint(found.link.endpoint)
        throw error
      }
      if (isMoved) this.#sessions.end(session, 'moved')
      logger.debug({ session: id, key, role, origin: session.originId }, 'session began')
    } catch (error) {
      admission.end()
      throw error
    }
  }

  #refuse(caller: Caller, error: unknown): void {
    const { clock, logger } = this.#options
    const code = errorCode(error)
    const reason = rejectReasonFor(error)
    count(this.refused, code)
    const packet = encodeHandshake(rejection(caller.conclusion, reason))
    this.#remember(refusalKey(caller), { packet, untilMs: clock.nowMs() + REFUSAL_KEPT_MS })
    this.#send(caller, packet)
    const due = this.#log.due(caller.source)
    if (due === undefined) return
    if (!(error instanceof SluiceError)) logger.error({ code, err: error, ...due }, 'an SRT call failed')
    else {
      const fields = { from: caller.source, code, reason, message: errorMessage(error), ...due }
      logger.warn(fields, 'SRT caller refused')
    }
  }

  #onOriginFailure(origin: OriginId, { code, message }: SrtError): void {
    count(this.originFailures, code)
    const due = this.#log.due(`${origin} ${code}`)
    if (due !== undefined) {
      this.#options.logger.warn({ origin, code, reason: message, ...due }, 'origin failed')
    }
  }

  #remember(key: string, refusal: Refusal): void {
    const { clock, maxDialogues } = this.#options
    this.#refusals.delete(key)
    this.#refusals.set(key, refusal)
    for (const [oldest, { untilMs }] of this.#refusals) {
      if (this.#refusals.size <= maxDialogues && clock.nowMs() < untilMs) break
      this.#refusals.delete(oldest)
    }
  }

  #send({ endpoint, address, port, local }: Caller, packet: Buffer): void {
    this.#options.datapath.send(endpoint, { address, port }, packet, { local })
  }
}

/** Of one call, however often its conclusion is repeated. */
function refusalKey({ key, proof }: Caller): string {
  return `${key} ${proof}`
}

function count(counts: Map<string, number>, code: string): void {
  counts.set(code, (counts.get(code) ?? 0) + 1)
}

function draining(): SrtError {
  return new SrtError('SRT_DRAINING', 'the gateway is shutting down', {
    side: 'self',
    retryable: true,
    reason: RejectReason.down,
  })
}

function tooMany(code: 'SRT_TOO_MANY_SESSIONS' | 'SRT_TOO_MANY_DIALOGUES', message: string): SrtError {
  return new SrtError(code, message, { side: 'self', retryable: true, reason: RejectReason.overload })
}

function dialogueTimeout(): SrtError {
  return new SrtError('SRT_DIALOGUE_TIMEOUT', 'the call took too long', {
    side: 'self',
    retryable: true,
    reason: RejectReason.timeout,
  })
}
