import type { Hold, OriginId, Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { EndpointId, FlowId, Remote } from '../../../mechanisms/datapath/index.ts'
import type { MetersInUse, MovableAdmission } from '../access/index.ts'
import type { OriginResource } from './origin-links.ts'

/** Packets and bytes of UDP payload. */
export interface Traffic {
  packets: number
  bytes: number
}

/** One user of the media port: what its STUN requests carry and are signed with. */
export interface IceIdentity {
  /** `answer-ufrag:offer-ufrag`. */
  readonly username: string
  /** `ice-pwd` of the answer; undefined where nobody told it (`bind-once`): then no request proves anything. */
  readonly password: Buffer | undefined
}

/** A flow of the datapath, and how far it has been counted. */
export interface CountedFlow {
  readonly flow: FlowId
  packets: number
  bytes: number
}

/** An address from which a session's client proved itself over UDP; the flow takes its datagrams. */
export interface UdpPath extends CountedFlow, Remote {
  readonly kind: 'udp'
  readonly session: Session
  /** The media port that it talks to. */
  readonly endpoint: EndpointId
  /** Monotonic time of the last sign of life. */
  seenAtMs: number
}

/** A connection on which a session's client proved itself (RFC 6544); TypeScript passes its datagrams on. */
export interface TcpPath {
  readonly kind: 'tcp'
  readonly session: Session
  /** Of the client. */
  readonly address: string
  seenAtMs: number
  /** Sends one datagram to the client; the bytes are copied. False when it was dropped, since too much waits already. */
  send(bytes: Uint8Array): boolean
  /** Closes the connection. */
  close(): void
}

/** Where the origin's datagrams go: a client's path, and the local address that it talks to. */
export interface Aim {
  readonly path: UdpPath | TcpPath
  readonly local: number
  /** Whether the client nominated it (USE-CANDIDATE). */
  isNominated: boolean
}

/** The flow that takes what the origin sends. */
export interface ReverseFlow extends CountedFlow {
  /** The media port that it leaves by; undefined when TypeScript takes it, for a connection. */
  readonly endpoint: EndpointId | undefined
}

/** Why a session ended; the labels of its metric. */
export type EndReason =
  | 'client'
  | 'idle'
  | 'origin-gone'
  | 'kicked'
  | 'drained'
  | 'failed'
  /** The stream of a player is published at another origin now. */
  | 'moved'
  /** It may not go on: a token has run out, a key was taken away. */
  | 'access'
  /** Another gateway serves it. */
  | 'taken'

/** What any gateway that serves a session knows of it. */
export interface SessionFacts {
  /** For operators, the same in every gateway; says nothing about the token. */
  readonly id: string
  /** SHA-256 of the secret part of the Location; undefined when another program made the session. */
  readonly tokenHash: string | undefined
  readonly streamKey: StreamKey
  readonly role: Role
  readonly originId: OriginId
  /** The session at the origin; absent when it named none, as in SRS's older API. */
  readonly atOrigin: OriginResource | undefined
  readonly originMedia: Remote
  /** Who asked for the session. */
  readonly clientAddress: string
  /** Wall time, in milliseconds. */
  readonly sinceMs: number
  /** Whether its answers have candidates over TCP. */
  readonly hasTcp: boolean
}

/** One WHIP or WHEP session: what signalling learnt of it, and where its media goes. */
export interface Session extends SessionFacts {
  /** What the origin calls the present state of ICE, as it wrote it (RFC 9725 §4.3.1). */
  etag: string | undefined
  /**
   * Another gateway serves it now. The paths that its client proved here stay open while they are used: a client with two
   * networks may have one path through each gateway, checks both, and means to use one.
   */
  isStandby: boolean
  standbySinceMs: number
  /** Ended on standby, as is the admission. */
  hold: Hold
  admission: MovableAdmission
  /** Budgets of the direction in which the stream flows. */
  readonly meters: MetersInUse
  /** The socket that only this session's origin is heard on. */
  readonly originEndpoint: EndpointId
  /** The newest first; the one before it holds while the client changes over (an ICE restart). */
  identities: readonly IceIdentity[]
  readonly remotes: Map<FlowId, UdpPath>
  readonly connections: Set<TcpPath>
  /** From the origin to `aim`; both are absent until a client proved itself. */
  reverse: ReverseFlow | undefined
  aim: Aim | undefined
  clientSeenAtMs: number
  originSeenAtMs: number
  renewedAtMs: number
  readonly fromClient: Traffic
  readonly fromOrigin: Traffic
  ended: EndReason | undefined
}

/** A hold of nothing, until there is one. */
export const noHold: Hold = { end: () => {} }

/** A session that nothing has flowed in yet. */
export function newSession(
  parts: SessionFacts &
    Pick<Session, 'etag' | 'hold' | 'admission' | 'meters' | 'originEndpoint' | 'identities'>,
  nowMs: number,
): Session {
  return {
    ...parts,
    isStandby: false,
    standbySinceMs: 0,
    remotes: new Map(),
    connections: new Set(),
    reverse: undefined,
    aim: undefined,
    clientSeenAtMs: nowMs,
    originSeenAtMs: nowMs,
    renewedAtMs: nowMs,
    fromClient: { packets: 0, bytes: 0 },
    fromOrigin: { packets: 0, bytes: 0 },
    ended: undefined,
  }
}
