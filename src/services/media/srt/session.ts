import type { Hold, OriginId, Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { Handshake } from '../../../protocols/srt/index.ts'
import type { Admission, MetersInUse } from '../access/index.ts'
import type { Caller } from './caller.ts'
import type { OriginLink } from './origin-link.ts'
import type { CountedFlow, Traffic } from './traffic.ts'

/** Why a session ended; the labels of its metric. */
export type EndReason =
  /** The caller shut it down. */
  | 'caller'
  /** The origin shut it down. */
  | 'origin'
  /** One side was silent for too long. */
  | 'idle'
  /** Nothing is at the origin's address any more. */
  | 'origin-gone'
  /** The caller's socket has called anew. */
  | 'replaced'
  /** The stream is live at another origin now. */
  | 'moved'
  /** It may not go on: its token has run out, for example. */
  | 'denied'
  | 'kicked'
  | 'drained'

/** One SRT connection: a socket of a caller and one of an origin, which name each other in every packet. */
export interface Session {
  /** For operators. */
  readonly id: string
  readonly streamKey: StreamKey
  readonly role: Role
  readonly originId: OriginId
  readonly admission: Admission
  readonly hold: Hold
  readonly meters: MetersInUse
  /** Wall time, in milliseconds. */
  readonly sinceMs: number
  readonly link: OriginLink
  /** What the caller was answered, and is again when it repeats its conclusion. */
  readonly answer: Handshake
  /** Where the caller is; changes when it moves. */
  caller: Caller
  fromCallerFlow: CountedFlow
  fromOriginFlow: CountedFlow
  callerSeenAtMs: number
  originSeenAtMs: number
  readonly fromCaller: Traffic
  readonly fromOrigin: Traffic
  ended: EndReason | undefined
}

/** The socket id of the caller, which is in what the origin sends. */
export function callerSocketOf({ caller }: Session): number {
  return caller.conclusion.socketId
}

/** The socket id of the origin, which is in what the caller sends. */
export function originSocketOf({ link }: Session): number {
  return link.answer.socketId
}
