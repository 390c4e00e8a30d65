import {
  type Claim,
  type Hold,
  type Origin,
  type OriginId,
  originTarget,
  streamKeyParts,
  type OriginTarget,
} from '../../../mechanisms/balancer/index.ts'
import {
  type Handshake,
  MAX_STREAM_ID_BYTES,
  originStreamId,
  streamIdOf,
  withStreamId,
} from '../../../protocols/srt/index.ts'
import { socketIdTaken, SrtError } from './errors.ts'
import type { OriginAddresses } from './origin-addresses.ts'
import { callOrigin, type OriginLink, remoteOf } from './origin-link.ts'
import type { CompleteSrtOptions } from './options.ts'
import type { StreamRequest } from './stream-request.ts'

/** An origin that accepted a caller. */
export interface OriginFound {
  readonly origin: Origin
  readonly link: OriginLink
  readonly hold: Hold
}

/** What a search needs besides the caller's wish. */
export interface SearchContext {
  readonly conclusion: Handshake
  readonly signal: AbortSignal
  /** Whether packets of this caller can be told from those of its other sessions by this socket id. */
  readonly isFree: (originSocketId: number) => boolean
  /** The stream is live at another origin now. */
  readonly onMoved: () => void
  readonly onFailure: (origin: OriginId, error: SrtError) => void
}

/**
 * Calls one origin after another until one accepts; those that are silent, away or not well are reported and passed over.
 *
 * @throws SRT_ORIGIN_REFUSED with the origin's reason, which is final unless it is `retryable`; the last origin's error
 * when as many as allowed have failed or no other is left; the balancer's when there was none at all
 */
export async function findOrigin(
  request: StreamRequest,
  context: SearchContext,
  options: CompleteSrtOptions,
  addresses: OriginAddresses,
): Promise<OriginFound> {
  let avoid: readonly OriginId[] = []
  let failure: unknown
  for (let attempt = 1; attempt <= options.maxOrigins; attempt++) {
    const claim = await pick(request, avoid, failure, options)
    let link: OriginLink
    try {
      context.signal.throwIfAborted()
      link = await call(claim.origin, request, context, options, addresses)
    } catch (error) {
      await giveUp(claim, error, context)
      failure = error
      avoid = avoid.concat(claim.origin.id)
      continue
    }
    if (context.isFree(link.answer.socketId)) return await keep(claim, link, context, options)
    // It gives another one next time.
    options.datapath.closeEndpoint(link.endpoint)
    await claim.release()
    failure = socketIdTaken()
  }
  throw failure
}

async function pick(
  { key, role }: StreamRequest,
  avoid: readonly OriginId[],
  failure: unknown,
  { balancer }: CompleteSrtOptions,
): Promise<Claim> {
  try {
    return await balancer.pick(key, 'srt', { role, avoid })
  } catch (error) {
    // That there is no other one says less than why this one failed.
    throw failure ?? error
  }
}

async function call(
  origin: Origin,
  request: StreamRequest,
  { conclusion, signal }: SearchContext,
  options: CompleteSrtOptions,
  addresses: OriginAddresses,
): Promise<OriginLink> {
  const target = originTarget(origin, 'srt', request.key, request.role)
  if (target === undefined) throw new Error('the balancer picks origins that offer SRT')
  const asked = withStreamIdFor(target, request, conclusion)
  const address = await addresses.find(target.host, options.originTimeoutMs)
  return await callOrigin({ remote: remoteOf(address, target.port), conclusion: asked, signal }, options)
}

/** The conclusion with the stream id that names the stream at the origin. */
function withStreamIdFor(
  { name }: OriginTarget,
  { key, role, resourceQuery: query, streamId }: StreamRequest,
  conclusion: Handshake,
): Handshake {
  const { app, stream } = streamKeyParts(key)
  const text =
    name === undefined ? streamId : originStreamId(name, { stream: `${app}/${stream}`, role, query })
  const sent = streamIdOf(conclusion)
  if (typeof sent !== 'string' && sent.text === text) return conclusion
  if (text === undefined || Buffer.byteLength(text) > MAX_STREAM_ID_BYTES) {
    throw new SrtError('SRT_BAD_STREAM_ID', 'stream id: the origin cannot be told of it')
  }
  return withStreamId(conclusion, text)
}

/** Tells the balancer how an origin failed. @throws what ends the search */
async function giveUp(claim: Claim, error: unknown, { signal, onFailure }: SearchContext): Promise<void> {
  const isOrigins = error instanceof SrtError && error.side === 'origin'
  if (signal.aborted || !isOrigins || !error.retryable) {
    await claim.release()
    throw error
  }
  // One that answers is there, however unwell.
  await claim.failed(error.code === 'SRT_ORIGIN_UNREACHABLE' ? 'unreachable' : 'silent')
  onFailure(claim.origin.id, error)
}

async function keep(
  claim: Claim,
  link: OriginLink,
  { signal, onMoved }: SearchContext,
  { datapath }: CompleteSrtOptions,
): Promise<OriginFound> {
  try {
    const hold = await claim.keep(onMoved)
    if (!signal.aborted) return { origin: claim.origin, link, hold }
    hold.end()
    throw signal.reason
  } catch (error) {
    datapath.closeEndpoint(link.endpoint)
    throw error
  }
}
