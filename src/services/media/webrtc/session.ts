import type { Hold, OriginId, Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { EndpointId, FlowId, Remote } from '../../../mechanisms/datapath/index.ts'
import type { OriginApi } from './origin-client.ts'

/** Packets and bytes of UDP payload. */
export interface Traffic {
  packets: number
  bytes: number
}

/** One user of the media port: what its STUN requests carry and are signed with. */
export interface IceIdentity {
  /** `answer-ufrag:offer-ufrag`. */
  readonly username: string
  /** `ice-pwd` of the answer. */
  readonly password: Buffer
}

/** A flow of the datapath, and how far it has been counted. */
export interface CountedFlow {
  readonly flow: FlowId
  packets: number
  bytes: number
}

/** An address from which a session's client proved itself; the flow takes its datagrams. */
export interface ClientRemote extends CountedFlow, Remote {
  readonly session: Session
  /** Monotonic time of the last sign of life. */
  seenAtMs: number
}

/** Where the origin's datagrams go: a client's address, and the local one it talks to. */
export interface Aim {
  readonly remote: ClientRemote
  readonly local: number
  /** Whether the client nominated it (USE-CANDIDATE). */
  isNominated: boolean
}

/** Why a session ended; the labels of its metric. */
export type EndReason = 'client' | 'idle' | 'origin-gone' | 'kicked' | 'drained' | 'failed'

/** One WHIP or WHEP session: what signalling learnt of it, and where its media goes. */
export interface Session {
  /** For operators; says nothing about the token. */
  readonly id: string
  /** The secret part of the Location. */
  readonly token: string
  readonly streamKey: StreamKey
  readonly role: Role
  readonly originId: OriginId
  readonly originApi: OriginApi
  /** Path and query of the session at the origin; absent when it named none. */
  readonly originTarget: string | undefined
  /** The client's Host header, which tells the origin its virtual host. */
  readonly host: string | undefined
  readonly hold: Hold
  /** Wall time, in milliseconds. */
  readonly sinceMs: number
  readonly originMedia: Remote
  /** The socket that only this session's origin is heard on. */
  readonly originEndpoint: EndpointId
  /** The newest first; the one before it holds while the client changes over (an ICE restart). */
  identities: readonly IceIdentity[]
  /** Local address on which the request came in, for candidates of later answers. */
  readonly requestAddress: string | undefined
  readonly remotes: Map<FlowId, ClientRemote>
  /** From the origin to `aim`; both are absent until a client proved itself. */
  reverse: CountedFlow | undefined
  aim: Aim | undefined
  clientSeenAtMs: number
  originSeenAtMs: number
  renewedAtMs: number
  readonly fromClient: Traffic
  readonly fromOrigin: Traffic
  ended: EndReason | undefined
}
