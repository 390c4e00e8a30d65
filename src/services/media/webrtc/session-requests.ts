import type { IncomingMessage } from 'node:http'
import type { HttpClient } from '../../../mechanisms/net/index.ts'
import {
  iceCredentials,
  type IceCredentials,
  SessionDescription,
  withoutCandidates,
} from '../../../protocols/sdp/index.ts'
import { identityOf, publicAnswer } from './answer.ts'
import { clientError, failureError, OriginRefusal, WebRtcError } from './errors.ts'
import { requestHeaders } from './forwarded-headers.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginResponse } from './origin-client.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { IceIdentity, Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** A PATCH or DELETE of a client. */
export interface SessionRequest {
  readonly request: IncomingMessage
  readonly client: HttpClient
}

const fragmentType = 'application/trickle-ice-sdpfrag'

/** An origin that answers so takes no PATCH, or cannot handle it (SRS): of trickled candidates it need not know. */
const withoutPatch: ReadonlySet<number> = new Set([405, 500, 501])

/** Takes DELETE and PATCH of a session to the origin that has it, and only there. */
export class SessionRequests {
  readonly #options: CompleteWebRtcOptions
  readonly #dialogue: OriginDialogue
  readonly #sessions: Sessions

  constructor(options: CompleteWebRtcOptions, dialogue: OriginDialogue, sessions: Sessions) {
    this.#options = options
    this.#dialogue = dialogue
    this.#sessions = sessions
  }

  /**
   * Ends a session here and at its origin. Only when the origin asks for other credentials does the session go on, so that
   * the client can come back with them. @throws OriginRefusal then
   */
  async delete(session: Session, { request, client }: SessionRequest): Promise<void> {
    const { atOrigin, streamKey } = session
    if (atOrigin !== undefined) {
      const headers = requestHeaders(request, client)
      const { result } = await this.#dialogue.ask(atOrigin, streamKey, { method: 'DELETE', headers })
      if (result.ok && (result.response.status === 401 || result.response.status === 403)) {
        throw new OriginRefusal(result.response.status, result.response.headers)
      }
    }
    await this.#sessions.end(session, 'client')
  }

  /**
   * Takes a fragment (RFC 9725 §4.3). With the user fragment in use it trickles candidates: the origin gets it without
   * these, and if it takes no PATCH, nobody misses them, since the gateway learns where the client is by its checks. With
   * another one it asks for an ICE restart: the answer gets the gateway's candidates, and the session its new USERNAME
   * besides the one in use.
   *
   * @throws WebRtcError with the status that fits
   */
  async patch(
    session: Session,
    { request, client }: SessionRequest,
    body: Buffer,
    signal: AbortSignal,
  ): Promise<OriginResponse> {
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (type !== fragmentType) throw clientError('WEBRTC_MEDIA_TYPE', 415, `a PATCH carries ${fragmentType}`)
    const { maxOfferBytes } = this.#options
    const fragment = SessionDescription.parse(body, { maxBytes: maxOfferBytes, fragment: true })
    if (typeof fragment === 'string') throw clientError('WEBRTC_BAD_SDP', 400, 'the body is no SDP fragment')
    const offered = iceCredentials(fragment)
    const isRestart = offered !== undefined && !isOfferedBy(session, offered)
    const { atOrigin, streamKey } = session
    if (atOrigin === undefined) return isRestart ? refuseRestart() : this.#trickled(session, request)
    const { result } = await this.#dialogue.ask(atOrigin, streamKey, {
      method: 'PATCH',
      headers: requestHeaders(request, client, fragmentType),
      body: withoutCandidates(fragment).toBytes(),
      signal,
    })
    if (!result.ok) {
      throw result.failure === 'aborted' ? signal.reason : failureError(result.failure, result.cause)
    }
    const { response } = result
    if (!isRestart && withoutPatch.has(response.status)) return this.#trickled(session, request)
    if (response.status >= 400) throw new OriginRefusal(response.status, response.headers)
    return isRestart ? this.#restarted(session, offered, response) : trickled(response.headers.etag)
  }

  /** The answer to candidates that the origin was not told of. @throws WEBRTC_STALE_ETAG */
  #trickled({ etag }: Session, { headers }: IncomingMessage): OriginResponse {
    const named = headers['if-match']?.split(',').map((one) => one.trim())
    const isStale = named !== undefined && etag !== undefined && !named.includes('*') && !named.includes(etag)
    if (isStale) throw clientError('WEBRTC_STALE_ETAG', 412, 'If-Match is not the ETag of the session')
    return trickled(etag)
  }

  async #restarted(
    session: Session,
    offer: IceCredentials,
    response: OriginResponse,
  ): Promise<OriginResponse> {
    const { maxAnswerBytes: maxBytes } = this.#options
    const answer = SessionDescription.parse(response.body, { maxBytes, fragment: true })
    const credentials = typeof answer === 'string' ? undefined : iceCredentials(answer)
    if (typeof answer === 'string' || credentials === undefined) {
      const options = { side: 'origin', retryable: false } as const
      throw new WebRtcError('WEBRTC_ORIGIN_BAD_ANSWER', 'the origin restarted no ICE', 502, options)
    }
    await this.#takeIdentity(session, identityOf(credentials, offer))
    session.etag = response.headers.etag ?? session.etag
    const headers = { ...response.headers, 'content-type': fragmentType }
    return { status: 200, headers, body: publicAnswer(answer, session, this.#sessions, this.#options) }
  }

  async #takeIdentity(session: Session, identity: IceIdentity): Promise<void> {
    if (session.identities.some(({ username }) => username === identity.username)) return
    await this.#sessions.claimIdentity(identity, session)
    if (session.ended !== undefined) {
      this.#sessions.disclaimIdentity(identity)
      return
    }
    const [current, ...older] = session.identities
    const kept: readonly IceIdentity[] = current === undefined ? [identity] : [identity, current]
    this.#sessions.table.reidentify(session, kept)
    for (const old of older) this.#sessions.disclaimIdentity(old)
  }
}

/** Candidates that the origin trickles in turn are its own, and no client of ours needs them. */
function trickled(etag: string | undefined): OriginResponse {
  return { status: 204, headers: etag === undefined ? {} : { etag }, body: nothing }
}

const nothing = Buffer.alloc(0)

/** Whether the client's side of the session has these credentials already. A USERNAME ends with the client's ufrag. */
function isOfferedBy({ identities }: Session, { ufrag }: IceCredentials): boolean {
  return identities.some(({ username }) => username.endsWith(`:${ufrag}`))
}

function refuseRestart(): never {
  throw clientError('WEBRTC_METHOD', 405, 'the origin restarts no ICE')
}
