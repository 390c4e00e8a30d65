import type { IncomingMessage } from 'node:http'
import type { RtcSession } from '../../../mechanisms/balancer/index.ts'
import type { HttpClient } from '../../../mechanisms/net/index.ts'
import {
  iceCredentials,
  type IceCredentials,
  SessionDescription,
  withoutCandidates,
} from '../../../protocols/sdp/index.ts'
import { identityOf, publicAnswer } from './answer.ts'
import { clientError, failureError, OriginRefusal, unavailable, WebRtcError } from './errors.ts'
import { requestHeaders } from './forwarded-headers.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginResponse } from './origin-client.ts'
import type { OriginDialogue } from './origin-dialogue.ts'
import type { OriginLinks } from './origin-links.ts'
import type { IceIdentity, Session, SessionFacts } from './session.ts'
import type { SessionLookups } from './session-lookups.ts'
import { placeOf } from './session-place.ts'
import { tokenHashOf } from './session-record.ts'
import type { Sessions } from './sessions.ts'

/** A PATCH or DELETE of a client. */
export interface SessionRequest {
  readonly request: IncomingMessage
  readonly client: HttpClient
}

const fragmentType = 'application/trickle-ice-sdpfrag'

/** An origin that answers so takes no PATCH, or cannot handle it (SRS): of trickled candidates it need not know. */
const withoutPatch: ReadonlySet<number> = new Set([405, 500, 501])

/** A session that a request is for, be it served here or by another gateway. */
export interface RequestedSession extends Pick<SessionFacts, 'streamKey' | 'atOrigin' | 'hasTcp'> {
  /** What the origin calls the present state of ICE. */
  readonly etag: string | undefined
  /** Whether the client's side has these credentials: what has others asks for an ICE restart. */
  knows(offer: IceCredentials): Promise<boolean>
  /** Its client ended it, and its origin knows. */
  end(): Promise<void>
  /** It gets another identity besides. @throws WEBRTC_SESSION_EXISTS, and what the store throws */
  restart(identity: IceIdentity, etag: string | undefined): Promise<void>
}

/** Takes DELETE and PATCH of a session to the origin that has it, and only there. */
export class SessionRequests {
  readonly #options: CompleteWebRtcOptions
  readonly #dialogue: OriginDialogue
  readonly #links: OriginLinks
  readonly #sessions: Sessions
  readonly #lookups: SessionLookups
  /** By the hash of the token: clients send fragments close after one another. */
  readonly #asked = new Map<string, Promise<RtcSession | undefined>>()

  constructor(
    options: CompleteWebRtcOptions,
    dialogue: OriginDialogue,
    links: OriginLinks,
    sessions: Sessions,
    lookups: SessionLookups,
  ) {
    this.#options = options
    this.#dialogue = dialogue
    this.#links = links
    this.#sessions = sessions
    this.#lookups = lookups
  }

  /**
   * The session of a Location, which another gateway may have given.
   *
   * @param address of the client
   * @throws WEBRTC_NO_SESSION, WEBRTC_STORE_AWAY, WEBRTC_TOO_MANY_LOOKUPS
   */
  async find(token: string, address: string): Promise<RequestedSession> {
    const tokenHash = tokenHashOf(token)
    const served = (): Session | undefined => {
      const session = this.#sessions.table.byTokenHash(tokenHash)
      return session?.isStandby === true ? undefined : session
    }
    if (served() === undefined && this.#sessions.store.isShared) {
      const record = isToken(token) ? await this.#lookUp(tokenHash, address) : undefined
      // It may have come over meanwhile.
      if (record !== undefined && served() === undefined) return this.#elsewhere(record)
    }
    const session = served()
    if (session === undefined) throw clientError('WEBRTC_NO_SESSION', 404, 'there is no such session')
    return this.#here(session, address)
  }

  /**
   * Ends a session, wherever it is served, and at its origin. Only when the origin asks for other credentials does the
   * session go on, so that the client can come back with them. @throws OriginRefusal then
   */
  async delete(session: RequestedSession, { request, client }: SessionRequest): Promise<void> {
    const { atOrigin, streamKey } = session
    if (atOrigin !== undefined) {
      const headers = requestHeaders(request, client)
      const { result } = await this.#dialogue.ask(atOrigin, streamKey, { method: 'DELETE', headers })
      if (result.ok && (result.response.status === 401 || result.response.status === 403)) {
        throw new OriginRefusal(result.response.status, result.response.headers)
      }
    }
    await session.end()
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
    session: RequestedSession,
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
    const isRestart = offered !== undefined && !(await session.knows(offered))
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
    if (!isRestart) return trickled(response.headers.etag)
    return this.#restarted(session, offered, response, request.socket.localAddress)
  }

  /** The answer to candidates that the origin was not told of. @throws WEBRTC_STALE_ETAG */
  #trickled({ etag }: RequestedSession, { headers }: IncomingMessage): OriginResponse {
    const named = headers['if-match']?.split(',').map((one) => one.trim())
    const isStale = named !== undefined && etag !== undefined && !named.includes('*') && !named.includes(etag)
    if (isStale) throw clientError('WEBRTC_STALE_ETAG', 412, 'If-Match is not the ETag of the session')
    return trickled(etag)
  }

  async #restarted(
    session: RequestedSession,
    offer: IceCredentials,
    response: OriginResponse,
    requestAddress: string | undefined,
  ): Promise<OriginResponse> {
    const { maxAnswerBytes: maxBytes } = this.#options
    const answer = SessionDescription.parse(response.body, { maxBytes, fragment: true })
    const credentials = typeof answer === 'string' ? undefined : iceCredentials(answer)
    if (typeof answer === 'string' || credentials === undefined) {
      const options = { side: 'origin', retryable: false } as const
      throw new WebRtcError('WEBRTC_ORIGIN_BAD_ANSWER', 'the origin restarted no ICE', 502, options)
    }
    await session.restart(identityOf(credentials, offer), response.headers.etag ?? session.etag)
    const headers = { ...response.headers, 'content-type': fragmentType }
    const context = { requestAddress, hasTcp: session.hasTcp }
    return { status: 200, headers, body: publicAnswer(answer, context, this.#sessions, this.#options) }
  }

  #here(session: Session, address: string): RequestedSession {
    const sessions = this.#sessions
    return {
      streamKey: session.streamKey,
      atOrigin: session.atOrigin,
      hasTcp: session.hasTcp,
      get etag() {
        return session.etag
      },
      knows: async (offer) => {
        if (session.identities.some(({ username }) => isOfferedBy(username, offer))) return true
        const { tokenHash } = session
        if (tokenHash === undefined || !this.#sessions.store.isShared) return false
        // Another gateway may have restarted its ICE, and no request of the new identity has come here.
        const record = await this.#lookUp(tokenHash, address).catch(() => undefined)
        if (record === undefined || session.ended !== undefined) return false
        return isOfferedBy(record.username, offer) && sessions.adopt(session, record)
      },
      end: async () => {
        // It may have gone to another gateway while its origin was asked.
        if (session.isStandby) await this.#removeStored(session.identities.map(({ username }) => username))
        await sessions.end(session, 'client')
      },
      restart: (identity, etag) => sessions.restart(session, identity, etag),
    }
  }

  /** The gateway that serves it learns of its end by the store, and of another identity by the first request that has it. */
  async #elsewhere(record: RtcSession): Promise<RequestedSession> {
    const place = await placeOf(record, this.#options, this.#links).catch((cause: unknown) => {
      throw storeAway(cause)
    })
    const { streamKey, username, resource } = record
    return {
      streamKey,
      atOrigin: place?.atOrigin,
      hasTcp: resource?.hasTcp ?? false,
      etag: resource?.etag,
      knows: async (offer) => isOfferedBy(username, offer),
      end: async () => {
        const standby = resource && this.#sessions.table.byTokenHash(resource.tokenHash)
        if (standby !== undefined) void this.#sessions.end(standby, 'client')
        // The gateway that serves it may not have heard of the newer one.
        await this.#removeStored([username, ...(resource?.previous === undefined ? [] : [resource.previous])])
      },
      restart: async (identity, etag) => {
        if (identity.username === username) return
        await this.#sessions.claim(restarted(record, identity, etag))
        this.#sessions.table.unreserve(identity.username)
      },
    }
  }

  /** Ends what another gateway serves. A store finds out whose it is when it is looked up. */
  async #removeStored(usernames: readonly string[]): Promise<void> {
    for (const username of usernames) {
      await this.#sessions.store.find(username).catch(() => undefined)
      this.#sessions.remove(username)
    }
  }

  /** @throws WEBRTC_STORE_AWAY, WEBRTC_TOO_MANY_LOOKUPS */
  #lookUp(tokenHash: string, address: string): Promise<RtcSession | undefined> {
    const running = this.#asked.get(tokenHash)
    if (running !== undefined) return running
    // A space is in no USERNAME that is asked for.
    const name = `token ${tokenHash}`
    const refusal = this.#lookups.begin(name, address, 'tcp')
    if (refusal === 'remembered') return Promise.resolve(undefined)
    if (refusal !== undefined) {
      return Promise.reject(unavailable('WEBRTC_TOO_MANY_LOOKUPS', 'too many sessions are asked for'))
    }
    const asked = this.#ask(name, tokenHash).finally(() => this.#asked.delete(tokenHash))
    this.#asked.set(tokenHash, asked)
    return asked
  }

  async #ask(name: string, tokenHash: string): Promise<RtcSession | undefined> {
    try {
      const record = await this.#sessions.store.findOfToken(tokenHash)
      this.#lookups.end(name, record === undefined ? 'unknown' : 'found')
      return record
    } catch (cause) {
      this.#lookups.end(name, 'failed')
      throw storeAway(cause)
    }
  }
}

/** Candidates that the origin trickles in turn are its own, and no client of ours needs them. */
function trickled(etag: string | undefined): OriginResponse {
  return { status: 204, headers: etag === undefined ? {} : { etag }, body: nothing }
}

const nothing = Buffer.alloc(0)

/** Whether the client's side of a session has these credentials. A USERNAME ends with the client's ufrag. */
function isOfferedBy(username: string, { ufrag }: IceCredentials): boolean {
  return username.endsWith(`:${ufrag}`)
}

/** The record of a session with another identity. */
function restarted(
  record: RtcSession,
  { username, password }: IceIdentity,
  etag: string | undefined,
): RtcSession {
  const { isServed: _, icePassword: __, resource, ...rest } = record
  return {
    ...rest,
    username,
    ...(password !== undefined && { icePassword: password.toString() }),
    ...(resource !== undefined && {
      resource: { ...resource, previous: record.username, ...(etag !== undefined && { etag }) },
    }),
  }
}

/** What this gateway, or another version of it, gives in Locations. */
function isToken(text: string): boolean {
  return /^[\w-]{16,128}$/.test(text)
}

function storeAway(cause: unknown): WebRtcError {
  return unavailable('WEBRTC_STORE_AWAY', 'the session cannot be looked up', cause)
}

function refuseRestart(): never {
  throw clientError('WEBRTC_METHOD', 405, 'the origin restarts no ICE')
}
