import type { Socket } from 'node:net'
import type { EndpointId } from '../../../mechanisms/datapath/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { ClientTransport } from '../client-transport.ts'
import type { ListenerState } from './listener-state.ts'

/** A client's five-tuple, and the way back to it. */
export interface Client extends TransportAddress {
  readonly listener: ListenerState
  readonly transport: ClientTransport
  /** Whether messages are framed by a stream, with padded ChannelData. */
  readonly isStream: boolean
  /** The five-tuple as a text, unique among all clients of a server. */
  readonly key: string
  /** Where the engine meets it; only of a client that speaks plain UDP. */
  readonly datagram?: { readonly endpoint: EndpointId; readonly local: number }
  /** Sends one message; the bytes are copied or sent before it returns. False when it was dropped. */
  send(bytes: Uint8Array): boolean
  /** Whether its connection has been closed meanwhile. */
  isGone?(): boolean
  /**
   * Hands over the connection of a client that comes over a stream, paused, with what it had sent ahead; nothing more is
   * received from it. Undefined when it has been closed meanwhile.
   */
  takeOver?(): Socket | undefined
  /** Ends its connection, if it has one of its own. */
  disconnect?(): void
}
