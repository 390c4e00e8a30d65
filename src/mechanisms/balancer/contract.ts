/**
 * The contract of the balancer: which origins there are, which of them carries a stream, and which
 * WebRTC session is whose. The memory store meets it; a shared store meets the same conformance suite.
 */
import type { StreamKey } from './stream-key.ts'

declare const originIdBrand: unique symbol

/** `{server}-{service}-{pid}`: one run of one origin process (reference: origin registration). */
export type OriginId = string & { readonly [originIdBrand]: true }

/** What a request needs of an origin: a way in or out for media. */
export type Need = (typeof NEEDS)[number]

/** Every need, in the order in which pages list them. `json`: SRS's older signalling, `/rtc/v1/publish|play/`. */
export const NEEDS = [
  'whip',
  'whep',
  'json',
  'rtmp',
  'srt',
  'flv',
  'ts',
  'aac',
  'mp3',
  'hls',
  'dash',
] as const

/** Makes of media servers whose URLs are known. What SRS announces of itself is `srs`. */
export type OriginKind = 'srs' | 'mediamtx' | 'ovenmediaengine' | 'livekit-ingress' | 'nginx-rtmp' | 'custom'

/** `rtmpPublish` and `srtPublish`: where a stream is published, when that is not where it is played. */
export type OriginUrlName = Need | 'rtmpPublish' | 'srtPublish'

/**
 * Where a stream is at an origin that did not announce itself as SRS does: a URL for each need it serves, with `{vhost}`,
 * `{app}` and `{stream}` to be filled in behind the port (`http://10.0.0.5:8889/{app}/{stream}/whip`,
 * `rtmp://10.0.0.5/{app}/{stream}`, `srt://10.0.0.5:8890?streamid=read:{app}/{stream}`). For `srt`, what follows
 * `streamid=` is the stream id.
 */
export type OriginUrls = Readonly<Partial<Record<OriginUrlName, string>>>

/** What an origin says of itself when it registers. Ports are already parsed; order is the origin's. */
export interface OriginAnnouncement {
  /** Where the gateway dials it: a literal address or a host name. */
  readonly ip: string
  readonly deviceId?: string
  /** Kept by the origin over restarts. */
  readonly server: string
  /** New at every start of the origin. */
  readonly service: string
  readonly pid: string
  readonly rtmp: readonly number[]
  readonly http: readonly number[]
  readonly api: readonly number[]
  readonly srt: readonly number[]
  /** UDP ports of WebRTC media. A 0 stands for "the port that each SDP answer names". */
  readonly rtc: readonly number[]
  /** @defaultValue `srs` */
  readonly kind?: OriginKind
  /** Where its streams are. Absent: where SRS has them, by the port lists above; with it those are empty. */
  readonly urls?: OriginUrls
  /** Share of new streams beside origins of weight 1; at 0 it gets none while another is fit. @defaultValue 1 */
  readonly weight?: number
  /** It gets new streams only when no other origin is fit. @defaultValue false */
  readonly isBackup?: boolean
  /** Where it stands; gateways prefer origins of their own zone. @defaultValue none */
  readonly zone?: string
  /** How busy it says it is, 0 to 1 (SRS: `summaries` of the heartbeat). @defaultValue unknown */
  readonly load?: number
}

export type OriginState =
  /** Heard of within the heartbeat TTL, and no connection to it failed since. */
  | 'healthy'
  /** A connection to it failed, or it hangs; it is avoided for a while, until it proves itself. */
  | 'suspect'
  /** Not heard of within the heartbeat TTL; only tried when nothing better is there. */
  | 'silent'

/** A registered origin as the balancer sees it. */
export interface Origin extends OriginAnnouncement {
  readonly id: OriginId
  readonly state: OriginState
  /** A drained origin keeps the streams it has and gets no new one. */
  readonly draining: boolean
  /** Wall time of the newest heartbeat, in milliseconds. */
  readonly lastHeartbeatMs: number
  /** Stream keys that are kept at this origin. */
  readonly streams: number
}

/** The origins that announced themselves, and those of the configuration. */
export interface OriginRegistry {
  /**
   * Adds an origin or renews its heartbeat. An earlier run of the same server at the same address is
   * removed. @throws BALANCER_TOO_MANY_ORIGINS when the table is full
   */
  announce(announcement: OriginAnnouncement): Promise<OriginId>
  list(): Promise<readonly Origin[]>
  findOrigin(id: OriginId): Promise<Origin | undefined>
  /** False when there was none. Its picks go. */
  remove(id: OriginId): Promise<boolean>
  /** False when there was none. */
  drain(id: OriginId, draining: boolean): Promise<boolean>
  /**
   * A check of its health failed: it is suspect until its next announcement, also when it accepts a request meanwhile.
   * False when there was none.
   */
  suspect(id: OriginId): Promise<boolean>
}

export type Role = 'publish' | 'play'

export interface PickOptions {
  readonly role: Role
  /** Origins that were tried for this request already. */
  readonly avoid?: readonly OriginId[]
  /**
   * A stream that this one goes with, such as the one whose playlist names it: where the policy would choose freely, the
   * origin of that stream is taken. @defaultValue none
   */
  readonly near?: StreamKey
}

/**
 * An origin chosen for one request, not yet kept. Requests for the same new key that run at the same time
 * get the same origin. End it with exactly one of its methods; a second call does nothing.
 */
export interface Claim {
  readonly origin: Origin
  /**
   * The origin accepted: the choice sticks, and the hold says that it is in use. It does not replace a pick whose
   * publisher is live at another origin, but for a publisher at the origin where the key is pinned; nor, for a player, one
   * that is followed at another. `onMoved` is called, for a player, once at most and while the hold lasts, when the stream
   * has moved: a publisher is live at another origin now, so whoever plays here sees nothing more. That may be soon, when
   * it was so already; it is never before `keep` has returned.
   * @throws BALANCER_TOO_MANY_STREAMS when all picks of a full table are in use
   */
  keep(onMoved?: () => void): Promise<Hold>
  /** The origin refused (no such stream, no permission) or gave no answer of use: nothing is left behind. */
  release(): Promise<void>
  /**
   * The origin could not be reached: it becomes suspect, and the pick moves, unless a publisher of the key is live
   * there. `silent`: it could, but does not answer; while a publisher of the key is live there, that is no failure.
   * What else an origin does on a connection is no failure: it may hang on what was asked. @defaultValue `unreachable`
   */
  failed(how?: 'unreachable' | 'silent'): Promise<void>
}

/** A publisher or a player that is live at the picked origin. While there is one, the pick does not expire. */
export interface Hold {
  /** Ends it; the pick then expires after its idle time. May be called twice. */
  end(): void
}

/** One stream key that is kept at an origin, or pinned to one. */
export interface Stream {
  readonly key: StreamKey
  readonly originId: OriginId
  /** Those of another gateway count as one. */
  readonly publishers: number
  readonly players: number
  /** Wall time of the first use here, in milliseconds; absent when it is used through other gateways only. */
  readonly sinceMs?: number
  /** An operator set where it is. A pinned key is listed also when nobody came for it yet. */
  readonly isPinned: boolean
  /** Its origin says that somebody publishes it there, past the gateways or through one. */
  readonly isFollowed: boolean
  /** Gateways through which it is published or played; absent when there is only one. */
  readonly gateways?: readonly string[]
}

/** Chooses the origin of a stream key; the choice sticks. */
export interface Balancer {
  /**
   * The kept origin of the key while it lives and offers what is needed, else one chosen by the policy among healthy
   * origins that offer it, else registered ones, newest heartbeat first. Whatever is picked has a target for this key, need
   * and role (`originTarget`).
   * A kept pick without a live publisher gives way when its origin is not healthy or lacks what is needed, but is only
   * replaced once another origin accepts.
   * @throws BALANCER_NO_ORIGIN when none is left
   * @throws BALANCER_PROTOCOL_NOT_OFFERED when a publisher is live at an origin that lacks what is needed
   * @throws BALANCER_TOO_MANY_STREAMS when all picks of a full table are in use
   */
  pick(key: StreamKey, need: Need, options: PickOptions): Promise<Claim>
  /**
   * What another gateway began goes on through this one: a hold as `Claim.keep` of a pick of this origin gives it. Undefined
   * when there is no such origin.
   */
  hold(key: StreamKey, id: OriginId, role: Role, onMoved?: () => void): Promise<Hold | undefined>
  /** Forgets where a key is kept, and its pin; what is running goes on. False when it was not kept. */
  clearPick(key: StreamKey): Promise<boolean>
  /**
   * An operator's word: whoever comes for the key goes to this origin, drained or not, while it is healthy and offers what
   * is needed; otherwise as without a pin. What is running goes on: while a publisher is live elsewhere players still go
   * there, and the next publisher moves the stream. It lasts until `clearPick`, over restarts of the origin, and goes when
   * that is removed. False when there is no such origin. @throws BALANCER_TOO_MANY_STREAMS when too many are pinned
   */
  pin(key: StreamKey, id: OriginId): Promise<boolean>
  /**
   * An origin says that a stream is published there (`isLive`), by whatever way it came, or is no more. The pick moves
   * there, unless a publisher through a gateway is live elsewhere, and then once that has gone; of several origins that
   * say so the one that began last is right, and repeating it changes nothing. The pick counts as in use, and players go
   * nowhere else, until the origin takes it back, is silent or cannot be reached. False when there is no such origin, it
   * is silent, or the pick stays elsewhere; without `isLive`, when it had not said so.
   * @throws BALANCER_TOO_MANY_STREAMS when all picks of a full table are in use
   */
  follow(key: StreamKey, id: OriginId, isLive: boolean): Promise<boolean>
  streams(): Promise<readonly Stream[]>
}

/** What any gateway must know of a WebRTC session to take its media over. */
export interface RtcSession {
  readonly streamKey: StreamKey
  readonly role: Role
  /** `answer-ufrag:offer-ufrag`, the USERNAME that the client's STUN requests carry. */
  readonly username: string
  /** The origin that answered the SDP, and only that one, gets the media. */
  readonly originId: OriginId
  /** Where that origin takes media: a literal address and a UDP port. */
  readonly originAddress: string
  readonly originPort: number
  /**
   * `ice-pwd` of the answer; STUN requests of the client are authenticated with it. Absent when another program wrote the
   * session, or the gateways share no secret to seal it with: then nobody can prove to belong to it.
   */
  readonly icePassword?: string
  /** What serving it in another gateway's place takes besides. Absent when another program wrote it. */
  readonly resource?: RtcResource
  /** Another gateway, which lives, serves it. Told by look-ups, not looked at by `addSession`. */
  readonly isServed?: boolean
}

/** The session as WHIP and WHEP know it, whatever its present USERNAME. */
export interface RtcResource {
  /** Names the session for operators, the same in every gateway. */
  readonly id: string
  /** SHA-256 of the secret part of the Location, in hexadecimal: the secret itself is kept nowhere but at the client. */
  readonly tokenHash: string
  /** The session's URL at the origin; absent when that named none. */
  readonly originUrl?: string
  /** The USERNAME before this one, which holds while the client changes over (an ICE restart). */
  readonly previous?: string
  /** What the origin calls the state of ICE. */
  readonly etag?: string
  /** Who asked for the session. */
  readonly clientAddress: string
  /** Wall time of its begin, in milliseconds. */
  readonly sinceMs: number
  /** Whether its answers have candidates over TCP. */
  readonly hasTcp: boolean
  /** Wall time at which it must end, in milliseconds; absent: never. */
  readonly untilMs?: number
}

/** How a gateway loses a session: another gateway serves it now, or its client ended it through another one. */
export type SessionLoss = 'taken' | 'ended'

/** WebRTC sessions, found by USERNAME and by the secret of their Location. */
export interface SessionStore {
  /** Whether others may have sessions that are not of this process, so that asking makes sense. */
  readonly isShared: boolean
  /**
   * @throws BALANCER_SESSION_EXISTS when the USERNAME belongs to a live session
   * @throws BALANCER_TOO_MANY_SESSIONS when the table is full
   */
  addSession(session: RtcSession): Promise<void>
  /** Renews the session: it expires after the session TTL without a look-up or a renewal. */
  findSession(username: string): Promise<RtcSession | undefined>
  /** The newest USERNAME of the session with this `resource.tokenHash`. Renews it. */
  findSessionOfToken(tokenHash: string): Promise<RtcSession | undefined>
  /** Tells `onSessionLost` when another gateway has taken it. */
  renewSession(username: string): Promise<void>
  /**
   * This gateway serves the session from now on; the one that did is told. With `unserved` only when no other gateway that
   * lives serves it. False when it does not then, or there is no such session any more.
   */
  takeSession(username: string, unserved?: 'unserved'): Promise<boolean>
  /**
   * Whether this gateway still serves a session that it added or took: asked of what is shared, not of the copy here. When
   * not, `onSessionLost` is told, too. True where the store has no such session any more. Fails as a command of Redis does.
   */
  servesSession(username: string): Promise<boolean>
  /** The gateway that serves it is told, when that is another one. */
  removeSession(username: string): Promise<void>
  /** Called for a session that this gateway served. The function ends it. */
  onSessionLost(listener: (username: string, how: SessionLoss) => void): () => void
}

/** What `spbhid` in the URL of an HLS segment stands for (reference: HLS). */
export interface HlsSession {
  /** 7 lower-case hexadecimal digits. */
  readonly id: string
  readonly streamKey: StreamKey
  /** The playlist's URL as SRS writes it: `http://host/path` of the client's request, without its query. */
  readonly fullUrl: string
}

/** Playlists that are being played. A session ends 120 s after its last use. */
export interface HlsSessionStore {
  /** The live session of the stream, renewed, or a new one. At the bound the one unused for longest goes. */
  openHls(key: StreamKey, fullUrl: string): Promise<HlsSession>
  /** Renews it. */
  findHls(id: string): Promise<HlsSession | undefined>
}

/** All that services need of balancing; one store keeps it. */
export interface BalancerStore extends OriginRegistry, Balancer, SessionStore, HlsSessionStore {}
