import type { TransportAddress } from '../../stun/index.ts'
import type { AddressErrorCode, IcmpReport } from '../turn-attributes.ts'

/** What a request was for. `release` is the Refresh that deletes. */
export type TurnOperation =
  | 'allocate'
  | 'refresh'
  | 'release'
  | 'permit'
  | 'bind'
  | 'connect'
  | 'connection-bind'

/**
 * Why a request failed: the number of the server's ERROR-CODE, or what this side found. `timeout`: nobody answered.
 * `integrity`: what came was not signed with our password. `challenge`: the server's 401 or 438 lacks what is needed, asks
 * for unknown algorithms only, or contradicts its nonce (RFC 8489 §9.2.1). `malformed`: the success lacks an attribute.
 */
export type TurnFailureCode = number | 'timeout' | 'integrity' | 'challenge' | 'malformed'

/** What a `TurnClient` wants done or has to tell. Byte views are valid until its next `receive`. */
export type TurnClientOutput =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'allocated'
      readonly relayed: TransportAddress
      /** The one of the other family, when ADDITIONAL-ADDRESS-FAMILY was asked for. */
      readonly additional?: TransportAddress
      /** Why one of two families could not be had. */
      readonly addressError?: AddressErrorCode
      /** Our address as the server sees it. */
      readonly mapped: TransportAddress
      readonly lifetimeSeconds: number
      /** RESERVATION-TOKEN, a copy. */
      readonly reservationToken?: Uint8Array
      /** MOBILITY-TICKET, a copy. */
      readonly mobilityTicket?: Uint8Array
    }
  | { readonly kind: 'refreshed'; readonly lifetimeSeconds: number }
  /** The allocation was deleted, as asked. */
  | { readonly kind: 'released' }
  /** Peers may send, for the first time or still. */
  | { readonly kind: 'permitted'; readonly peers: readonly TransportAddress[] }
  | { readonly kind: 'bound'; readonly channel: number; readonly peer: TransportAddress }
  | {
      readonly kind: 'data'
      readonly peer: TransportAddress
      readonly bytes: Uint8Array
      /** Absent when it came in a Data indication. */
      readonly channel?: number
    }
  | { readonly kind: 'icmp'; readonly peer: TransportAddress; readonly report: IcmpReport }
  /** The server has connected to the peer; `connectionBind` on a new stream gets at its bytes (RFC 6062 §4.3). */
  | { readonly kind: 'connected'; readonly connectionId: number; readonly peer: TransportAddress }
  /** The same, but the peer has connected to the server (RFC 6062 §4.4). */
  | { readonly kind: 'attempted'; readonly connectionId: number; readonly peer: TransportAddress }
  /** From here on the stream is the peer's; `rest` has come already and is a copy. */
  | { readonly kind: 'joined'; readonly rest: Uint8Array }
  | {
      readonly kind: 'failed'
      readonly operation: TurnOperation
      readonly code: TurnFailureCode
      /** For people; may be empty. */
      readonly reason: string
      /** Those that a `permit`, `bind` or `connect` was for. */
      readonly peers: readonly TransportAddress[]
      /** Where to try instead (300). */
      readonly alternateServer?: TransportAddress
    }
  /** The stream brought neither STUN nor ChannelData; it is of no more use. */
  | { readonly kind: 'broken' }
