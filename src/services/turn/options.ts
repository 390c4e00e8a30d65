import type { Socket } from 'node:net'
import type { Clock } from '../../foundation/clock.ts'
import type { Datapath } from '../../mechanisms/datapath/index.ts'
import type { Certificate, ListenAddress } from '../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../mechanisms/telemetry/index.ts'
import type { ClientTransport } from './client-transport.ts'
import type { CredentialSource } from './credentials/contract.ts'
import type { TurnEvents } from './events.ts'
import type { TurnFleet } from './fleet.ts'
import type { PeerPolicy } from './peers/contract.ts'
import type { AllocationQuota, QuotaCheck } from './quota.ts'

/** Where the relayed addresses of one family are. */
export interface RelayOptions {
  /** Local address, a literal one, on which relay sockets are bound. Its family is the relay's. */
  readonly address: string
  /** What clients and peers are told instead (1:1 NAT). @defaultValue `address` */
  readonly advertised?: string
  /** @defaultValue 49152 to 65535 */
  readonly ports?: { readonly from: number; readonly to: number }
}

/** One port on which clients are served. */
export interface TurnListenerOptions {
  /** Unique among the listeners. */
  readonly name: string
  readonly transport: ClientTransport
  readonly listen: ListenAddress
  /** One for each family that is offered; the first is what a client gets that names none and wants IPv4. */
  readonly relays: readonly RelayOptions[]
  /** Whom clients may reach. */
  readonly peers: PeerPolicy
  /** Which relay transports a client may ask for. @defaultValue both */
  readonly relayTransports?: readonly ('udp' | 'tcp')[]
  /**
   * Certificate and key of `tls` and `dtls`, in PEM. New ones hold for new connections. With `dtls` it is shown alone,
   * without those of authorities, has at most 1234 bytes, and its key is RSA or P-256.
   */
  readonly certificate?: Certificate
  /** Ranges of balancers whose PROXY protocol header names the client; only `tcp` and `tls`. @defaultValue none */
  readonly proxyProtocolFrom?: readonly string[]
  /** Refuses channel numbers over 0x4FFF (RFC 8656 §12), for ports that carry other protocols too. @defaultValue false */
  readonly strictChannels?: boolean
  /** Where HTTP goes that comes on this TCP or TLS port. @defaultValue it is cut */
  readonly onHttp?: (socket: Socket) => void
}

/** Bounds and times. */
export interface TurnLimits {
  /** Allocations of one user, unless `quota` says otherwise. 0: no limit. @defaultValue 64 */
  readonly maxPerUser: number
  /** Allocations from one client address (IPv6: /64). @defaultValue 256 */
  readonly maxPerAddress: number
  /** Allocations in all; further ones get 508. @defaultValue 100,000 */
  readonly maxAllocations: number
  /** Permissions of an allocation; further ones get 508. @defaultValue 256 */
  readonly maxPermissions: number
  /** Channels of an allocation; further ones get 508. @defaultValue 256 */
  readonly maxChannels: number
  /** TCP connections to peers of an allocation (RFC 6062); further ones get 508. @defaultValue 32 */
  readonly maxPeerConnections: number
  /** New peers per second of an allocation, 20 seconds' worth at once; further ones get 508. 0: no limit. @defaultValue 5 */
  readonly newPeersPerSecond: number
  /** Packets per second of an allocation, both ways together; further ones are dropped. 0: no limit. @defaultValue 20,000 */
  readonly packetsPerSecond: number
  /** Payload bytes per second of an allocation, both ways together. 0: no limit. @defaultValue 0 */
  readonly bytesPerSecond: number
  /** The same of a user. @defaultValue 0 */
  readonly userBytesPerSecond: number
  /** The same of the server. @defaultValue 0 */
  readonly totalBytesPerSecond: number
  /** How long an unrefreshed allocation lives, and the least that a client may ask for, in seconds. RFC 8656 §3.2. @defaultValue 600 */
  readonly lifetimeSeconds: number
  /** The most that a client may ask for. @defaultValue 3600 */
  readonly maxLifetimeSeconds: number
  /** @defaultValue 300 (RFC 8656 §3.3) */
  readonly permissionSeconds: number
  /** @defaultValue 600 (RFC 8656 §12) */
  readonly channelSeconds: number
  /** How long a nonce is good. @defaultValue 600 */
  readonly nonceSeconds: number
  /** TCP and TLS connections of clients, all listeners together. @defaultValue 20,000 */
  readonly maxConnections: number
  /** The same from one address. @defaultValue 256 */
  readonly maxConnectionsPerAddress: number
  /** How long a TCP connection without an allocation may stay, in seconds. @defaultValue 30 */
  readonly idleSeconds: number
  /** Bytes that wait for a TCP client that does not read; what comes on top is dropped. @defaultValue 262,144 */
  readonly maxClientQueueBytes: number
  /**
   * Answers per second to whom nothing has been proved of, per IPv4 /24 or IPv6 /56, two seconds' worth at once.
   * 0: no limit. @defaultValue 200
   */
  readonly strangerRepliesPerSecond: number
  /** The same for all together. @defaultValue 20,000 */
  readonly totalStrangerRepliesPerSecond: number
  /**
   * Requests with credentials per second from one address (IPv6: /64) that has no allocation to go with them, two seconds'
   * worth at once; further ones get no answer. 0: no limit. @defaultValue 100
   */
  readonly attemptsPerSecond: number
}

/** Says where a client should go instead; undefined: it may stay. */
export type Redirect = (client: {
  readonly address: string
  readonly userId: string
}) => { readonly address: string; readonly port: number; readonly domain?: string } | undefined

/** What a TURN server is made of. */
export interface TurnServerOptions {
  readonly listeners: readonly TurnListenerOptions[]
  /** Who may have allocations. `NoCredentials`: nobody, and STUN is all that is served. */
  readonly credentials: CredentialSource
  /** The REALM of challenges; short ones amplify less. @defaultValue 'sluice' */
  readonly realm?: string
  /**
   * How many allocations a user may have. A number is counted here, in place of `limits.maxPerUser`; a function is asked before
   * each allocation and not told of the end of any. @defaultValue `limits.maxPerUser`, counted here
   */
  readonly quota?: AllocationQuota | QuotaCheck | number
  readonly limits?: Partial<TurnLimits>
  /** Lets clients move to another address (RFC 8016). @defaultValue true */
  readonly mobility?: boolean
  /**
   * What challenges offer of RFC 8489: `sha256` is MESSAGE-INTEGRITY-SHA256 and PASSWORD-ALGORITHMS, `anonymity` is that
   * and USERHASH. Each makes challenges longer. @defaultValue 'none'
   */
  readonly security?: 'none' | 'sha256' | 'anonymity'
  /** Keys nonces and mobility tickets; gateways that share it take each other's. 32 bytes. @defaultValue random */
  readonly secret?: Uint8Array
  /**
   * Servers with the same `secret` to which clients are led that come here with a mobility ticket of theirs.
   * @defaultValue none: such a client gets 437
   */
  readonly fleet?: TurnFleet
  /** Where to send an authenticated client instead (300, ALTERNATE-SERVER). @defaultValue nowhere */
  readonly redirect?: Redirect
  /** Told of allocations that are made, refreshed and ended, and of requests that are refused. @defaultValue nobody */
  readonly events?: TurnEvents
  /** Ports of this machine that are never peers, besides the server's own listeners. @defaultValue none */
  readonly ownPorts?: () => readonly { readonly protocol: 'udp' | 'tcp'; readonly port: number }[]
  /** @defaultValue one of its own, that it starts and closes, with the engine and threads below */
  readonly datapath?: Datapath
  /** What moves datagrams; `native` makes its absence an error. @defaultValue 'auto': native where it was built, else node */
  readonly engine?: 'auto' | 'native' | 'node'
  /** Threads of the native engine. @defaultValue 1 */
  readonly threads?: number | 'auto'
  /** @defaultValue silent */
  readonly logger?: Logger
  /** Where metrics are registered. @defaultValue nowhere */
  readonly registry?: Registry
  readonly clock?: Clock
  /** Gives random bytes. @defaultValue `node:crypto`'s */
  readonly random?: (bytes: number) => Uint8Array
}

/** The defaults of `TurnLimits`. */
export const defaultLimits: TurnLimits = {
  maxPerUser: 64,
  maxPerAddress: 256,
  maxAllocations: 100_000,
  maxPermissions: 256,
  maxChannels: 256,
  maxPeerConnections: 32,
  newPeersPerSecond: 5,
  packetsPerSecond: 20_000,
  bytesPerSecond: 0,
  userBytesPerSecond: 0,
  totalBytesPerSecond: 0,
  lifetimeSeconds: 600,
  maxLifetimeSeconds: 3600,
  permissionSeconds: 300,
  channelSeconds: 600,
  nonceSeconds: 600,
  maxConnections: 20_000,
  maxConnectionsPerAddress: 256,
  idleSeconds: 30,
  maxClientQueueBytes: 262_144,
  strangerRepliesPerSecond: 200,
  totalStrangerRepliesPerSecond: 20_000,
  attemptsPerSecond: 100,
}
