import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { errorCode } from '../../../foundation/errors.ts'
import type { Claim, OriginId, Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import {
  iceCredentials,
  type IceCredentials,
  SessionDescription,
  withoutCandidates,
} from '../../../protocols/sdp/index.ts'
import { identityOf, readAnswer, type ReadAnswer } from './answer.ts'
import { clientError, WebRtcError } from './errors.ts'
import { requestHeaders } from './forwarded-headers.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginApi, OriginClient, OriginFailure, OriginResponse } from './origin-client.ts'
import { originMediaPort } from './origin-media-port.ts'
import { originQuery } from './origin-query.ts'
import type { EndpointRoute } from './route.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** What came of an offer: a session with the origin's answer, or the origin's refusal. */
export interface OfferOutcome {
  readonly response: OriginResponse
  readonly accepted: { readonly session: Session; readonly answer: SessionDescription } | undefined
}

/** A POST, taken apart. */
export interface Offer {
  readonly request: IncomingMessage
  readonly route: EndpointRoute
  /** The path as it came. */
  readonly path: string
  /** Without its `?`. */
  readonly query: string
  readonly body: Buffer
  /** Aborted when the client goes away or the gateway closes. */
  readonly signal: AbortSignal
}

/** What an origin's answer needs to become a session. */
interface Attempt {
  readonly offer: Offer
  readonly key: StreamKey
  readonly role: Role
  readonly credentials: IceCredentials
  readonly claim: Claim
  readonly api: OriginApi
}

/** Takes offers to origins: picks, asks, tries the next one, and makes sessions of the answers. */
export class Offers {
  readonly #options: CompleteWebRtcOptions
  readonly #origins: OriginClient
  readonly #sessions: Sessions
  #lastId = 0

  constructor(options: CompleteWebRtcOptions, origins: OriginClient, sessions: Sessions) {
    this.#options = options
    this.#origins = origins
    this.#sessions = sessions
  }

  /** @throws WebRtcError, and errors of the balancer, each with the status that fits */
  async post(offer: Offer): Promise<OfferOutcome> {
    const { streamKeyOf, maxOfferBytes, allowIceQuery, maxAttempts, balancer, resolveHost, logger } =
      this.#options
    const { request, route, query } = offer
    const description = SessionDescription.parse(offer.body, { maxBytes: maxOfferBytes })
    if (typeof description === 'string') throw clientError('WEBRTC_BAD_SDP', 400, 'the body is no SDP offer')
    const credentials = iceCredentials(description)
    if (credentials === undefined) {
      throw clientError('WEBRTC_NO_ICE_CREDENTIALS', 400, 'the offer has no valid ICE credentials')
    }
    const role = route.role === 'publish' && isPlayAction(query) ? 'play' : route.role
    const key = streamKeyOf({
      host: request.headers.host,
      path: route.streamPath ?? offer.path,
      query,
      names: route.streamPath === undefined ? 'query' : 'path',
    })
    const parameters = originQuery(query, route.streamPath, allowIceQuery)
    const target = parameters === '' ? route.originPath : `${route.originPath}?${parameters}`
    const headers = { 'content-type': 'application/sdp', ...requestHeaders(request) }
    const body = withoutCandidates(description).toBytes()

    const avoid: OriginId[] = []
    let failure: WebRtcError | undefined
    while (avoid.length < maxAttempts) {
      const claim = await balancer.pick(key, role === 'publish' ? 'whip' : 'whep', { role, avoid }).catch((error: unknown) => {
        // Once one was tried, "there is no other" is not the reason that helps.
        throw failure ?? error
      })
      const { origin } = claim
      // Looked up once, so that the media goes to the very host that answers.
      const address = await literalAddress(origin.ip, resolveHost)
      const api = { address: address ?? origin.ip, port: origin.api[0] ?? 0 }
      const ask = { method: 'POST', target, headers, body, signal: offer.signal } as const
      const result = address === undefined ? unresolved : await this.#origins.ask(api, ask)
      try {
        if (!result.ok) {
          if (result.failure === 'unreachable') this.#sessions.endStopped(key, origin.id)
          const error = await endClaim(claim, result, offer.signal)
          // SRS only closes the connection of a second publisher.
          if (result.failure === 'broken' && role === 'publish' && this.#sessions.table.isPublished(key)) {
            throw clientError('WEBRTC_STREAM_BUSY', 409, 'the stream is published already')
          }
          throw error
        }
        return await this.#answered({ offer, key, role, credentials, claim, api }, result.response)
      } catch (error) {
        if (!(error instanceof WebRtcError) || error.side !== 'origin') throw error
        failure = error
        const { code, message: reason, cause } = error
        logger.warn({ origin: origin.id, code, reason, cause: errorCode(cause) }, 'origin took no offer')
        avoid.push(origin.id)
      }
    }
    throw failure ?? failureError('unreachable')
  }

  async #answered(attempt: Attempt, response: OriginResponse): Promise<OfferOutcome> {
    const { claim } = attempt
    if (response.status < 200 || response.status > 299) {
      await claim.release()
      return { response, accepted: undefined }
    }
    const read = readAnswer(response.body, false, this.#options.maxAnswerBytes)
    const isSdp = (response.status === 200 || response.status === 201) && read !== undefined
    const originTarget = sessionTarget(response.headers.location, attempt.offer.route.originPath)
    try {
      if (!isSdp) throw badAnswer('the answer is no SDP')
      const session = await this.#open(attempt, read, originTarget)
      return { response, accepted: { session, answer: read.description } }
    } catch (error) {
      // The origin has a session that nobody will use.
      await claim.release()
      const { host } = attempt.offer.request.headers
      void this.#sessions.tellOrigin({
        originApi: attempt.api,
        originTarget,
        host,
        originId: claim.origin.id,
      })
      throw error
    }
  }

  async #open(
    { offer, key, role, credentials, claim, api }: Attempt,
    read: ReadAnswer,
    originTarget: string | undefined,
  ): Promise<Session> {
    const { clock, random } = this.#options
    const { table, media } = this.#sessions
    const { origin } = claim
    const { headers, socket } = offer.request
    const mediaPort = originMediaPort(read.description, origin.rtc)
    if (read.credentials === undefined) throw badAnswer('the answer has no valid ICE credentials')
    if (mediaPort === undefined) throw badAnswer('neither the answer nor the registration names a media port')
    const identity = identityOf(read.credentials, credentials)
    const undo: (() => void)[] = []
    try {
      const originMedia = { address: api.address, port: mediaPort }
      const originEndpoint = await media.openOrigin(originMedia)
      undo.push(() => media.closeOrigin(originEndpoint))
      await this.#sessions.claimIdentity(identity, { streamKey: key, role, originId: origin.id, originMedia })
      undo.push(() => this.#sessions.disclaimIdentity(identity))
      const hold = await claim.keep()
      const nowMs = clock.nowMs()
      const session: Session = {
        id: `webrtc-${++this.#lastId}`,
        token: random(24).toString('base64url'),
        streamKey: key,
        role,
        originId: origin.id,
        originApi: api,
        originTarget,
        host: headers.host,
        hold,
        sinceMs: clock.wallMs(),
        originMedia,
        originEndpoint,
        identities: [identity],
        requestAddress: socket.localAddress,
        remotes: new Map(),
        reverse: undefined,
        aim: undefined,
        clientSeenAtMs: nowMs,
        originSeenAtMs: nowMs,
        renewedAtMs: nowMs,
        fromClient: { packets: 0, bytes: 0 },
        fromOrigin: { packets: 0, bytes: 0 },
        ended: undefined,
      }
      table.add(session)
      return session
    } catch (error) {
      for (const step of undo.toReversed()) step()
      throw error
    }
  }
}

/** SRS's WHIP endpoint plays when it is told so. */
function isPlayAction(query: string): boolean {
  return query.split('&').includes('action=play')
}

const unresolved = { ok: false, failure: 'unreachable', cause: { code: 'ENOTFOUND' } } as const

/** The address of a registered host, which may be a name. */
async function literalAddress(
  host: string,
  resolveHost: CompleteWebRtcOptions['resolveHost'],
): Promise<string | undefined> {
  if (isIP(host) !== 0) return host
  return resolveHost(host).catch(() => undefined)
}

/**
 * Path and query of a session at its origin. Whatever host the Location names, the session is asked for where the
 * origin's API is: no origin leads the gateway to somebody else.
 */
function sessionTarget(location: string | string[] | undefined, requestPath: string): string | undefined {
  const text = Array.isArray(location) ? location[0] : location
  const base = `http://origin${requestPath}`
  if (text === undefined || !URL.canParse(text, base)) return undefined
  const { pathname, search } = new URL(text, base)
  return pathname + search
}

/**
 * Ends the claim on an origin that gave no response. What an origin does after it took the connection can hang on
 * what was asked of it (an SRS closes it when the stream is busy), and strangers must not bring it into disrepute.
 * One that says nothing at all hangs.
 */
async function endClaim(
  claim: Claim,
  { failure, cause }: { readonly failure: OriginFailure; readonly cause: unknown },
  signal: AbortSignal,
): Promise<unknown> {
  if (failure === 'unreachable' || failure === 'silent') await claim.failed(failure)
  else await claim.release()
  return failure === 'aborted' ? signal.reason : failureError(failure, cause)
}

function badAnswer(why: string, cause?: unknown): WebRtcError {
  const options = { side: 'origin', retryable: true, cause } as const
  return new WebRtcError('WEBRTC_ORIGIN_BAD_ANSWER', why, 502, options)
}

/** What a client is told of an origin that gave no response. */
export function failureError(failure: Exclude<OriginFailure, 'aborted'>, cause?: unknown): WebRtcError {
  const options = { side: 'origin', retryable: true, cause } as const
  switch (failure) {
    case 'unreachable':
      return new WebRtcError('WEBRTC_ORIGIN_UNREACHABLE', 'no origin could be reached', 502, options)
    case 'silent':
      return new WebRtcError('WEBRTC_ORIGIN_TIMEOUT', 'the origin did not answer in time', 504, options)
    case 'broken':
      return badAnswer('the origin gave no whole answer', cause)
    default:
      return failure satisfies never
  }
}
