import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import {
  type Claim,
  type Hold,
  type Origin,
  type OriginId,
  originTarget,
  type OriginTarget,
  type Role,
  type StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import type { LinePace, Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Refusal } from '../../../protocols/rtmp/index.ts'
import { rtmpServiceError } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { askOrigin, gone, type OriginAnswer, type OriginQuestion } from './origin-dialogue.ts'

/** An origin that gives or takes the stream. */
export type OriginReady = Extract<OriginAnswer, { kind: 'ready' }> & {
  readonly origin: Origin
  readonly hold: Hold
  /** Aborted when the stream is published at another origin now. */
  readonly moved: AbortSignal
}

/** How the search for an origin ended. */
export type OriginFound = OriginReady | OriginRefused

type OriginRefused = Extract<OriginAnswer, { kind: 'refused' }>

/** What is told of each origin that failed and was passed over. */
export interface SearchObserver {
  readonly log: Logger
  readonly pace: LinePace
  onError(code: string): void
}

/**
 * Asks one origin after another until one accepts or refuses; those that cannot be reached are reported and passed over.
 * A redirect to a registered origin is followed; any other is a refusal. After a refusal that says nothing of other origins
 * those are asked too, and what the first one said holds when none of them gives the stream.
 * @throws the balancer's error when no origin is left, the last origin's when as many as allowed have failed, and
 * RTMP_CLIENT_GONE when the question's `signal` is aborted
 */
export async function findOrigin(
  key: StreamKey,
  question: OriginQuestion,
  options: CompleteRtmpOptions,
  observer: SearchObserver,
): Promise<OriginFound> {
  const role = question.request.action
  let avoid: readonly OriginId[] = []
  let refused: OriginRefused | undefined
  try {
    for (let attempt = 1; ; attempt++) {
      if (question.signal.aborted) throw gone()
      const isLast = attempt >= options.maxOrigins
      const claim = await options.balancer.pick(key, 'rtmp', { role, avoid })
      const answer = await ask(claim, key, question, options)
      if (answer.kind === 'ready') return await keep(claim, answer, question.signal)
      avoid = avoid.concat(claim.origin.id)
      if (answer.kind === 'failed') {
        if (isLast) throw answer.error
        report(claim.origin, answer.error, observer)
        continue
      }
      const elsewhere = await othersThanRedirect(answer.refusal, key, role, options)
      if (elsewhere === undefined) refused ??= answer
      if (isLast || (elsewhere === undefined && !isOfThisOrigin(answer.refusal, role)))
        return refused ?? answer
      avoid = elsewhere ?? avoid
    }
  } catch (error) {
    // An origin's no is more to the point than the trouble with the others.
    if (refused === undefined || question.signal.aborted) throw error
    return refused
  }
}

/** Asks, and ends the claim where the origin is not the one. @throws RTMP_CLIENT_GONE */
async function ask(
  claim: Claim,
  key: StreamKey,
  question: OriginQuestion,
  options: CompleteRtmpOptions,
): Promise<OriginAnswer | { readonly kind: 'failed'; readonly error: unknown }> {
  try {
    const answer = await askOrigin(targetOf(claim.origin, key, question.request.action), question, options)
    if (answer.kind === 'refused') await claim.release()
    return answer
  } catch (error) {
    if (question.signal.aborted) {
      await claim.release()
      throw error
    }
    // One that takes connections may only hang on what was asked of it.
    await claim.failed(errorCode(error) === 'RTMP_ORIGIN_UNREACHABLE' ? 'unreachable' : 'silent')
    return { kind: 'failed', error }
  }
}

/**
 * Whether a refusal may hold for this origin only: it takes no connection, or does not have the stream, which somebody may
 * publish elsewhere past the gateway. Where it has it, the balancer knows no other place.
 */
function isOfThisOrigin(refusal: Refusal | undefined, role: Role): boolean {
  if (refusal === undefined || refusal.redirect !== undefined) return false
  if (role === 'play' && refusal.code === 'NetStream.Play.StreamNotFound') return true
  return refusal.code === 'NetConnection.Connect.Rejected' && refusal.messages.length === 0
}

function report({ id }: Origin, error: unknown, observer: SearchObserver): void {
  const { log, pace } = observer
  observer.onError(errorCode(error))
  const due = pace.due(id)
  const fields = { origin: id, code: errorCode(error), reason: errorMessage(error), ...due }
  log[due === undefined ? 'debug' : 'warn'](fields, 'origin failed')
}

async function keep(
  claim: Claim,
  answer: Extract<OriginAnswer, { kind: 'ready' }>,
  signal: AbortSignal,
): Promise<OriginReady> {
  const moved = new AbortController()
  let hold: Hold
  try {
    hold = await claim.keep(() => moved.abort())
  } catch (error) {
    answer.socket.destroy()
    throw error
  }
  if (!signal.aborted) return { ...answer, origin: claim.origin, hold, moved: moved.signal }
  hold.end()
  answer.socket.destroy()
  throw gone()
}

function targetOf(origin: Origin, key: StreamKey, role: Role): OriginTarget {
  const target = originTarget(origin, 'rtmp', key, role)
  if (target !== undefined) return target
  // The balancer picks only origins that offer RTMP, so its URL does not hold for this key.
  throw rtmpServiceError('RTMP_ORIGIN_UNREACHABLE', `${origin.id} has no RTMP address for ${key}`, {
    side: 'origin',
    retryable: true,
  })
}

/** All origins but the one that the redirect names; undefined when it names none, or none that is registered. */
async function othersThanRedirect(
  refusal: Refusal | undefined,
  key: StreamKey,
  role: Role,
  options: CompleteRtmpOptions,
): Promise<readonly OriginId[] | undefined> {
  if (refusal?.redirect === undefined || !URL.canParse(refusal.redirect)) return undefined
  const url = new URL(refusal.redirect)
  const scheme = url.protocol.slice(0, -1)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? (scheme === 'rtmps' ? 443 : 1935) : Number(url.port)
  const origins = await options.origins.list()
  const named = origins.find((origin) => {
    const target = originTarget(origin, 'rtmp', key, role)
    return target?.scheme === scheme && target.host === host && target.port === port
  })
  return named && origins.filter((origin) => origin !== named).map((origin) => origin.id)
}
