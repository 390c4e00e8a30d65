import type { ClientTransport } from './client-transport.ts'

/** One allocation as operators see it. */
export interface AllocationInfo {
  /** Names it in the admin API and in events; no key to it. */
  readonly id: string
  readonly userId: string
  readonly username: string
  readonly realm: string
  readonly listener: string
  readonly transport: ClientTransport
  /** `address:port` of the client. */
  readonly client: string
  /** What it relays: datagrams, or TCP connections (RFC 6062). */
  readonly relayTransport: 'udp' | 'tcp'
  /** Relayed addresses as the client was told, one or two. */
  readonly relayed: readonly string[]
  /** Peers with a live permission; those with a channel as `address:port`. */
  readonly peers: readonly string[]
  /** Wall time of its begin and of its end unless refreshed, in milliseconds. */
  readonly sinceMs: number
  readonly expiresAtMs: number
  /** Payload that went from the client to peers. */
  readonly sent: { readonly packets: number; readonly bytes: number }
  /** Payload that went from peers to the client. */
  readonly received: { readonly packets: number; readonly bytes: number }
  /** The same of each peer that it talks with at present. */
  readonly peerTraffic: readonly {
    readonly peer: string
    readonly sent: { readonly packets: number; readonly bytes: number }
    readonly received: { readonly packets: number; readonly bytes: number }
  }[]
  /** Dropped for a limit, both ways. */
  readonly dropped: number
}
