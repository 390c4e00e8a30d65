/**
 * Who may publish and play. Every room of media asks here once per stream, before it picks an origin, and gets the same
 * decision whatever the protocol.
 */
import type { Role, StreamKey } from '../../../mechanisms/balancer/index.ts'

/** Somebody who wants to publish or play, and all that may speak for it. */
export interface AccessRequest {
  readonly protocol: 'webrtc' | 'rtmp' | 'http' | 'hls' | 'srt'
  readonly role: Role
  readonly key: StreamKey
  /** Of the client: behind trusted proxies what they say, without an IPv6 prefix before IPv4. */
  readonly address: string
  /**
   * Query of the stream's URL as the client sent it, without its `?`: keys, tokens and whatever hooks want to see. Of RTMP
   * that of the stream name, behind that of the tcUrl; of SRT the part behind `?` of the resource and every further key
   * of the stream id as a parameter.
   */
  readonly query: string
  /** Of `Authorization: Bearer`, of the `key` or `token` that an SRT stream id names. */
  readonly bearer?: string
  /** As hooks of SRS see it: `rtmp://host/app`, for other protocols `{scheme}://{host}/{app}`. */
  readonly tcUrl: string
  readonly pageUrl?: string
  /** Names the session in hooks (`client_id`), logs and the admin API. */
  readonly sessionId: string
  /** Aborted when nobody wants the answer any more. */
  readonly signal?: AbortSignal
}

/** A bound on bytes per second that several sessions may share. */
export interface BandwidthLimit {
  /** What shares it, such as `app live`; sessions with equal ids have one budget. */
  readonly id: string
  readonly bytesPerSecond: number
  /** Most bytes that go at once after a pause. */
  readonly burstBytes: number
  /**
   * Charges bytes that were passed on, and says after how many milliseconds the next may follow; 0: at once. For streams,
   * which wait; datagram services open a meter of the datapath for the id instead, which drops.
   */
  charge(bytes: number): number
}

/** A session that was let in. */
export interface Admission {
  /** Bounds that hold for this session: none, or up to three (stream, app, address). */
  readonly limits: readonly BandwidthLimit[]
  /**
   * Aborted when it must end: its token has run out, its key was taken away by a reload. The reason is an AccessError.
   */
  readonly signal: AbortSignal
  /** The session is over: counts go back, `on_unpublish` or `on_stop` is sent. May be called twice. */
  end(): void
}

/** Decides. */
export interface Access {
  /**
   * @throws ACCESS_DENIED 403, ACCESS_ADDRESS_DENIED 403, ACCESS_CREDENTIALS_MISSING 401, ACCESS_CREDENTIALS_WRONG 403,
   * ACCESS_EXPIRED 403, ACCESS_HOOK_DENIED 403, ACCESS_HOOK_AWAY 503, ACCESS_KEYS_AWAY 503, ACCESS_CLOSED 503,
   * ACCESS_TOO_MANY 429: AccessErrors, whose message a client may read and whose `status` says how to answer. The reason of
   * the request's signal when that was aborted: then there is nobody to answer
   */
  admit(request: AccessRequest): Promise<Admission>
}

/** A session that another gateway let in and that goes on through this one. */
export interface ResumedSession
  extends Pick<AccessRequest, 'protocol' | 'role' | 'key' | 'address' | 'tcUrl' | 'sessionId'> {
  /** Wall time at which it must end, in milliseconds; absent: never. */
  readonly endsAtMs?: number
}

/** An admission of a session that may go on through another gateway. */
export interface MovableAdmission extends Admission {
  /** As in `ResumedSession`: what the other gateway has to know. */
  readonly endsAtMs?: number
  /** In place of `end`: the session is not over, only elsewhere. Counts go back, and no hook server is told. */
  handOver(): void
}

/** Decides where gateways serve each other's sessions. */
export interface SharedAccess extends Access {
  admit(request: AccessRequest): Promise<MovableAdmission>
  /**
   * Takes a session over. Nobody is asked again for a key, a token or an opinion, and counts may go beyond their bounds, as
   * with sessions that run while rules change; limits of bandwidth and the end of the token hold. Hook servers are told
   * when it is over, without the query of its URL, which only the gateway knew that let it in.
   * @throws ACCESS_EXPIRED, ACCESS_CLOSED
   */
  resume(session: ResumedSession): MovableAdmission
}
