import type { IncomingMessage } from 'node:http'
import {
  iceCredentials,
  type IceCredentials,
  SessionDescription,
  withoutCandidates,
} from '../../../protocols/sdp/index.ts'
import { identityOf, publicAnswer, readAnswer } from './answer.ts'
import { clientError } from './errors.ts'
import { requestHeaders } from './forwarded-headers.ts'
import { failureError } from './offer.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginClient, OriginResponse } from './origin-client.ts'
import type { IceIdentity, Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** Takes DELETE and PATCH of a session to the origin that has it, and only there. */
export class SessionRequests {
  readonly #options: CompleteWebRtcOptions
  readonly #origins: OriginClient
  readonly #sessions: Sessions

  constructor(options: CompleteWebRtcOptions, origins: OriginClient, sessions: Sessions) {
    this.#options = options
    this.#origins = origins
    this.#sessions = sessions
  }

  /**
   * Ends a session here and at its origin; `undefined` when the origin has nothing to say. Only when the origin asks
   * for other credentials does the session go on, so that the client can come back with them.
   */
  async delete(session: Session, request: IncomingMessage): Promise<OriginResponse | undefined> {
    const { originApi, originTarget: target } = session
    if (target === undefined) {
      await this.#sessions.end(session, 'client')
      return undefined
    }
    const headers = requestHeaders(request)
    const result = await this.#origins.ask(originApi, { method: 'DELETE', target, headers })
    const isRefused = result.ok && (result.response.status === 401 || result.response.status === 403)
    if (!isRefused) await this.#sessions.end(session, 'client')
    return result.ok ? result.response : undefined
  }

  /**
   * Passes a trickled fragment on, without its candidates. An answer to it begins an ICE restart: it gets the
   * gateway's candidates, and the session its new USERNAME besides the one in use (RFC 9725 §4.3.3).
   *
   * @throws WebRtcError with the status that fits
   */
  async patch(
    session: Session,
    request: IncomingMessage,
    body: Buffer,
    signal: AbortSignal,
  ): Promise<OriginResponse> {
    const { maxOfferBytes, maxAnswerBytes } = this.#options
    const fragment = SessionDescription.parse(body, { maxBytes: maxOfferBytes, fragment: true })
    if (typeof fragment === 'string') throw clientError('WEBRTC_BAD_SDP', 400, 'the body is no SDP fragment')
    const { originApi, originTarget: target } = session
    if (target === undefined) throw clientError('WEBRTC_METHOD', 405, 'the origin takes no PATCH')
    const result = await this.#origins.ask(originApi, {
      method: 'PATCH',
      target,
      headers: requestHeaders(request),
      body: withoutCandidates(fragment).toBytes(),
      signal,
    })
    if (!result.ok) {
      throw result.failure === 'aborted' ? signal.reason : failureError(result.failure, result.cause)
    }
    const { response } = result
    const isSdp = response.headers['content-type']?.includes('sdp') === true
    if (response.status < 200 || response.status > 299 || !isSdp) return response
    const answer = readAnswer(response.body, true, maxAnswerBytes)
    if (answer === undefined) return response
    await this.#restart(session, answer.credentials, iceCredentials(fragment))
    const { requestAddress } = session
    const { media } = this.#sessions
    return { ...response, body: publicAnswer(answer.description, requestAddress, media, this.#options) }
  }

  async #restart(
    session: Session,
    answer: IceCredentials | undefined,
    offer: IceCredentials | undefined,
  ): Promise<void> {
    if (answer === undefined || offer === undefined) return
    const identity = identityOf(answer, offer)
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
