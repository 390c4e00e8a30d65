import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { Claim, Hold, Origin, OriginId, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { Refusal, StreamRequest } from '../../../protocols/rtmp/index.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { askOrigin, gone, type OriginAnswer } from './origin-dialogue.ts'

/** How the search for an origin ended. */
export type OriginFound =
  | (Extract<OriginAnswer, { kind: 'ready' }> & { readonly origin: Origin; readonly hold: Hold })
  | Extract<OriginAnswer, { kind: 'refused' }>

/** What is told of each origin that failed and was passed over. */
export interface SearchObserver {
  readonly log: Logger
  onError(code: string): void
}

/**
 * Asks one origin after another until one accepts or refuses; those that cannot be reached are reported and passed over.
 * A redirect to a registered origin is followed; any other is a refusal.
 * @throws the balancer's error when no origin is left, the last origin's when as many as allowed have failed, and
 * RTMP_CLIENT_GONE when `signal` is aborted
 */
export async function findOrigin(
  key: StreamKey,
  request: StreamRequest,
  options: CompleteRtmpOptions,
  signal: AbortSignal,
  observer: SearchObserver,
): Promise<OriginFound> {
  const role = request.action
  let avoid: readonly OriginId[] = []
  for (let attempt = 1; ; attempt++) {
    const claim = await options.balancer.pick(key, 'rtmp', { role, avoid })
    let answer: OriginAnswer
    try {
      answer = await askOrigin(endpointOf(claim.origin), request, options, signal)
    } catch (error) {
      if (signal.aborted) {
        await claim.release()
        throw error
      }
      await claim.failed()
      if (attempt >= options.maxOrigins) throw error
      observer.onError(errorCode(error))
      observer.log.warn(
        { origin: claim.origin.id, code: errorCode(error), reason: errorMessage(error) },
        'origin failed',
      )
      avoid = avoid.concat(claim.origin.id)
      continue
    }
    if (answer.kind === 'ready') return keep(claim, answer, signal)
    await claim.release()
    const elsewhere = await othersThanRedirect(answer.refusal, options)
    if (elsewhere === undefined || attempt >= options.maxOrigins) return answer
    avoid = elsewhere
  }
}

async function keep(
  claim: Claim,
  answer: Extract<OriginAnswer, { kind: 'ready' }>,
  signal: AbortSignal,
): Promise<OriginFound> {
  let hold: Hold
  try {
    hold = await claim.keep()
  } catch (error) {
    answer.socket.destroy()
    throw error
  }
  if (!signal.aborted) return { ...answer, origin: claim.origin, hold }
  hold.end()
  answer.socket.destroy()
  throw gone()
}

function endpointOf(origin: Origin): { readonly host: string; readonly port: number } {
  // The balancer picks only origins whose list is not empty.
  return { host: origin.ip, port: origin.rtmp[0] ?? 1935 }
}

/** All origins but the one that the redirect names; undefined when it names none, or none that is registered. */
async function othersThanRedirect(
  refusal: Refusal | undefined,
  options: CompleteRtmpOptions,
): Promise<readonly OriginId[] | undefined> {
  if (refusal?.redirect === undefined || !URL.canParse(refusal.redirect)) return undefined
  const url = new URL(refusal.redirect)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? 1935 : Number(url.port)
  const origins = await options.origins.list()
  const target = origins.find((origin) => origin.ip === host && origin.rtmp[0] === port)
  if (url.protocol !== 'rtmp:' || target === undefined) return undefined
  return origins.filter((origin) => origin !== target).map((origin) => origin.id)
}
