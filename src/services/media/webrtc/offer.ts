import { errorCode } from '../../../foundation/errors.ts'
import {
  type Claim,
  type OriginId,
  originTarget,
  type PickOptions,
  type StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import { iceCredentials, SessionDescription } from '../../../protocols/sdp/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import type { MovableAdmission } from '../access/index.ts'
import { identityOf } from './answer.ts'
import { type ClientOffer, type OfferNeed, type OfferRequest, readOffer } from './client-offer.ts'
import { badAnswer, clientError, failureError, OriginRefusal, WebRtcError } from './errors.ts'
import { requestHeaders } from './forwarded-headers.ts'
import { readJsonAnswer } from './json-envelope.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import { hostHeaderOf, type OriginResponse } from './origin-client.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { OriginLinks, OriginResource } from './origin-links.ts'
import { originMedia } from './origin-media.ts'
import { newSession, type Session, type SessionFacts } from './session.ts'
import { recordOf, sessionIdOf, tokenHashOf } from './session-record.ts'
import type { Sessions } from './sessions.ts'

/** A session, and what the origin answered to its offer. */
export interface AcceptedOffer {
  readonly session: Session
  /** The secret part of its Location. */
  readonly token: string
  readonly response: OriginResponse
  readonly answer: SessionDescription
  /** What a client of the older API is told beside the SDP. */
  readonly members: Readonly<Record<string, string>>
}

/** An offer that was let in, and the origin that was picked for it. */
interface Attempt {
  readonly request: OfferRequest
  readonly offer: ClientOffer
  readonly admission: MovableAdmission
  readonly sessionId: string
  readonly claim: Claim
  readonly need: OfferNeed
}

/** Takes offers to origins: asks whether they may, picks, asks, tries the next one, and makes sessions of the answers. */
export class Offers {
  readonly #options: CompleteWebRtcOptions
  readonly #dialogue: OriginDialogue
  readonly #links: OriginLinks
  readonly #sessions: Sessions
  readonly #logged: LinePace

  constructor(
    options: CompleteWebRtcOptions,
    dialogue: OriginDialogue,
    links: OriginLinks,
    sessions: Sessions,
  ) {
    this.#options = options
    this.#dialogue = dialogue
    this.#links = links
    this.#sessions = sessions
    this.#logged = new LinePace(options.clock)
  }

  /** @throws WebRtcError, and errors of access and the balancer, each with the status that fits */
  async post(request: OfferRequest): Promise<AcceptedOffer> {
    const offer = readOffer(request, this.#options)
    const sessionId = sessionIdOf(this.#options.random)
    const admission = await this.#admit(request, offer, sessionId)
    let accepted: AcceptedOffer | undefined
    try {
      const signal = AbortSignal.any([request.signal, admission.signal])
      accepted = await this.#offer({ request: { ...request, signal }, offer, admission, sessionId })
      return accepted
    } finally {
      // A session ends it itself.
      if (accepted === undefined) admission.end()
    }
  }

  #admit(
    { request, client, signal }: OfferRequest,
    { role, key, accessQuery, tcUrl }: ClientOffer,
    sessionId: string,
  ): Promise<MovableAdmission> {
    const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
    const pageUrl = request.headers.referer ?? request.headers.origin
    return this.#options.access.admit({
      protocol: 'webrtc',
      role,
      key,
      address: client.address,
      query: accessQuery,
      tcUrl,
      sessionId,
      signal,
      ...(bearer !== undefined && { bearer }),
      ...(pageUrl !== undefined && { pageUrl }),
    })
  }

  async #offer(wanted: Omit<Attempt, 'claim' | 'need'>): Promise<AcceptedOffer> {
    const { maxAttempts } = this.#options
    const { offer, request } = wanted
    const { role, key } = offer
    const avoid: OriginId[] = []
    let failure: WebRtcError | undefined
    while (avoid.length < maxAttempts) {
      const claim = await this.#pick(key, needsOf(wanted), { role, avoid }).catch((error: unknown) => {
        // Once one was tried, "there is no other" is not the reason that helps.
        throw failure ?? error
      })
      const { origin } = claim
      const need = needsOf(wanted).findLast((one) => originTarget(origin, one, key) !== undefined) ?? 'json'
      try {
        return await this.#ask({ ...wanted, claim, need })
      } catch (error) {
        request.signal.throwIfAborted()
        if (!(error instanceof WebRtcError) || error.side !== 'origin') throw error
        failure = error
        this.#log(origin.id, error)
        avoid.push(origin.id)
      }
    }
    throw failure ?? failureError('unreachable')
  }

  /** An origin that has one of the needs, the earlier the better. */
  async #pick(key: StreamKey, needs: readonly OfferNeed[], options: PickOptions): Promise<Claim> {
    const [need = 'json', ...others] = needs
    try {
      return await this.#options.balancer.pick(key, need, options)
    } catch (error) {
      const isLacking =
        errorCode(error) === 'BALANCER_NO_ORIGIN' || errorCode(error) === 'BALANCER_PROTOCOL_NOT_OFFERED'
      if (!isLacking || others.length === 0) throw error
      return this.#pick(key, others, options)
    }
  }

  async #ask(attempt: Attempt): Promise<AcceptedOffer> {
    const { claim, need, offer, request } = attempt
    const { key, role } = offer
    const { origin } = claim
    const target = originTarget(origin, need, key)
    if (target === undefined) {
      await claim.release()
      throw badAnswer('the origin has no place for a stream of this name')
    }
    const api = await this.#links.locate(target)
    if (api === undefined) {
      await claim.failed('unreachable')
      throw failureError('unreachable', { code: 'ENOTFOUND' })
    }
    const message = offer.message(need, target)
    // SRS finds its virtual host in the client's; an origin with URLs of its own is called by its name.
    const host = (target.name === undefined ? request.request.headers.host : undefined) ?? hostHeaderOf(api)
    const { result, resource } = await this.#dialogue.ask(
      { api, target: message.target, host, origin },
      key,
      {
        method: 'POST',
        headers: requestHeaders(request.request, request.client, message.contentType),
        body: message.body,
        signal: request.signal,
      },
    )
    if (result.ok) return this.#answered(attempt, result.response, resource)
    const { failure, cause } = result
    // What an origin does after it took the connection can hang on what was asked of it (an SRS closes it when the stream
    // is busy), and strangers must not bring it into disrepute. One that says nothing at all hangs. Where it redirected
    // to is not its fault.
    const isOwn = resource.origin.id === origin.id
    if (failure === 'unreachable' && isOwn) this.#sessions.endStopped(key, origin.id)
    if ((failure === 'unreachable' || failure === 'silent') && isOwn) await claim.failed(failure)
    else await claim.release()
    if (failure === 'aborted') throw request.signal.reason
    // SRS only closes the connection of a second publisher.
    if (failure === 'broken' && role === 'publish') this.#refuseBusy(key)
    throw failureError(failure, cause)
  }

  async #answered(attempt: Attempt, response: OriginResponse, asked: OriginResource): Promise<AcceptedOffer> {
    const { claim, need, offer } = attempt
    const atOrigin = await this.#links.follow(response.headers.location, asked, offer.key)
    try {
      const read = readAnswer(response, need, this.#options.maxAnswerBytes)
      if (read.description === undefined) throw new OriginRefusal(read.status, response.headers, read.code)
      const { description } = read
      const token = this.#options.random(24).toString('base64url')
      const session = await this.#open(attempt, token, description, asked, atOrigin, response.headers.etag)
      const { server, service, pid } = asked.origin
      const sessionid = session.identities[0]?.username ?? ''
      return {
        session,
        token,
        response,
        answer: description,
        members: { server, service, pid, sessionid, ...read.members },
      }
    } catch (error) {
      await claim.release()
      if (error instanceof OriginRefusal) {
        const text = response.body.subarray(0, 500).toString()
        this.#options.logger.debug(
          { origin: asked.origin.id, status: response.status, text },
          'origin refused',
        )
        if (error.side === 'origin' && offer.role === 'publish') this.#refuseBusy(offer.key)
      } else {
        // The origin may have a session that nobody will use.
        void this.#sessions.tellOrigin(atOrigin, offer.key)
      }
      throw error
    }
  }

  async #open(
    { request, offer, admission, sessionId, claim }: Attempt,
    token: string,
    answer: SessionDescription,
    asked: OriginResource,
    atOrigin: OriginResource | undefined,
    etag: string | undefined,
  ): Promise<Session> {
    const { clock, resolveHost, iceTcp } = this.#options
    const { media, limits } = this.#sessions
    const { key: streamKey, role, wantsTcp } = offer
    const { origin } = asked
    const credentials = iceCredentials(answer)
    if (credentials === undefined) throw badAnswer('the answer has no valid ICE credentials')
    const mediaAt = await originMedia(answer, origin, asked.api, resolveHost)
    if (mediaAt === undefined)
      throw badAnswer('neither the answer nor the registration names a media address')
    const identity = identityOf(credentials, offer.credentials)
    const facts: SessionFacts = {
      id: sessionId,
      tokenHash: tokenHashOf(token),
      streamKey,
      role,
      originId: origin.id,
      atOrigin,
      originMedia: mediaAt,
      clientAddress: request.client.address,
      sinceMs: clock.wallMs(),
      hasTcp: iceTcp || wantsTcp,
    }
    const undo: (() => void)[] = []
    try {
      const originEndpoint = await media.openOrigin(mediaAt)
      undo.push(() => media.closeOrigin(originEndpoint))
      const state = { etag, untilMs: admission.endsAtMs, previous: undefined }
      await this.#sessions.claim(recordOf(facts, identity, state))
      undo.push(() => this.#sessions.disclaim(identity.username))
      // Then nothing comes from this origin any more; the player's next offer goes to the right one.
      const moved = new AbortController()
      const hold = await claim.keep(role === 'play' ? () => moved.abort() : undefined)
      undo.push(() => hold.end())
      request.signal.throwIfAborted()
      const meters = limits.take(admission.limits)
      const session = newSession(
        { ...facts, etag, hold, admission, meters, originEndpoint, identities: [identity] },
        clock.nowMs(),
      )
      this.#sessions.begin(session, moved.signal)
      return session
    } catch (error) {
      for (const step of undo.toReversed()) step()
      throw error
    }
  }

  /** @throws WEBRTC_STREAM_BUSY when a publisher of the stream is live here */
  #refuseBusy(key: StreamKey): void {
    if (this.#sessions.table.isPublished(key)) {
      throw clientError('WEBRTC_STREAM_BUSY', 409, 'the stream is published already')
    }
  }

  #log(origin: OriginId, { code, message: reason, cause }: WebRtcError): void {
    const fields = { origin, code, reason, cause: errorCode(cause) }
    const due = this.#logged.due(origin)
    if (due !== undefined) this.#options.logger.warn({ ...fields, ...due }, 'origin took no offer')
    else this.#options.logger.debug(fields, 'origin took no offer')
  }
}

/** Ways to make the offer, the one that most origins have first. At an origin that has both, the last one is used. */
function needsOf({ request, offer }: Pick<Attempt, 'request' | 'offer'>): readonly OfferNeed[] {
  const need = offer.role === 'publish' ? 'whip' : 'whep'
  return request.route.form === 'json' ? [need, 'json'] : [need]
}

/** What an origin said: an answer, or its refusal. @throws WEBRTC_ORIGIN_BAD_ANSWER */
function readAnswer(
  { status, body }: OriginResponse,
  need: OfferNeed,
  maxBytes: number,
):
  | { readonly description: SessionDescription; readonly members?: Readonly<Record<string, string>> }
  | { readonly description: undefined; readonly status: number; readonly code?: number } {
  if (status >= 400) return { description: undefined, status }
  if (status !== 200 && status !== 201) throw badAnswer('the origin answered with an unexpected status')
  if (need !== 'json') {
    const description = SessionDescription.parse(body, { maxBytes })
    if (typeof description === 'string') throw badAnswer('the answer is no SDP')
    return { description }
  }
  const answer = readJsonAnswer(body, maxBytes)
  if (answer === undefined) throw badAnswer('the answer is no JSON with an SDP')
  if (answer.description !== undefined) return answer
  return { description: undefined, status: 400, code: answer.code }
}
