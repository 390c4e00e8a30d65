import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type {
  Balancer,
  HttpStreamRequest,
  OriginRegistry,
  SessionStore,
  StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import {
  AddressRanges,
  type Dial,
  dialTcp,
  httpClientOf,
  type HttpClientOf,
  type ListenAddress,
} from '../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import { openAccess, type SharedAccess } from '../access/index.ts'
import { WebRtcError } from './errors.ts'
import { inTime } from './in-time.ts'
import type { ConfiguredAddress } from './public-addresses.ts'

/** One UDP port on which clients' media is heard. */
export interface MediaListen {
  /** Local addresses; `0.0.0.0` and `::` stand for all of their family. */
  readonly addresses: readonly string[]
  /** 0 takes any free one. */
  readonly port: number
}

/** What the WebRTC service is given; the composition root builds it. */
export interface WebRtcOptions {
  readonly datapath: Datapath
  readonly balancer: Pick<Balancer, 'pick' | 'hold'>
  /** One that is shared is asked for sessions that other gateways began. */
  readonly sessionStore: SessionStore
  /** The routing key of a request. Its errors reach the client with their status and code. */
  readonly streamKeyOf: (request: HttpStreamRequest) => StreamKey
  readonly logger: Logger
  readonly registry: Registry
  /**
   * Every origin: a redirect, a Location or another gateway's session leads to one of them or nowhere.
   * @defaultValue none but the one that was asked
   */
  readonly origins?: Pick<OriginRegistry, 'list' | 'findOrigin'>
  /** Who may publish and play. @defaultValue everybody */
  readonly access?: SharedAccess
  /** Who a client is, past trusted proxies, and how origins are told. @defaultValue no proxy is trusted */
  readonly clientOf?: HttpClientOf
  /** Where clients' media is heard over UDP; each port gets candidates. @defaultValue port 8000 of all addresses */
  readonly mediaListen?: readonly MediaListen[]
  /**
   * Addresses that clients are told, one candidate each; without a port of its own one of each that is bound. Empty: the
   * address on which the request came in. @defaultValue none
   */
  readonly publicAddresses?: readonly ConfiguredAddress[]
  /**
   * Whether clients are told the addresses in an origin's answer too, before ours and with our ports: for origins that are
   * set to announce the public address themselves, as behind the SRS proxy (`CANDIDATE`, `eip`). @defaultValue false
   */
  readonly keepOriginAddresses?: boolean
  /** Where clients connect whose way over UDP is barred (RFC 6544). Empty: ICE-TCP is off. @defaultValue none */
  readonly tcpListen?: readonly ListenAddress[]
  /** The like of `publicAddresses` for TCP. @defaultValue the addresses that UDP has, with the ports bound for TCP */
  readonly tcpPublicAddresses?: readonly ConfiguredAddress[]
  /** Whether every answer has TCP candidates, or only that to a URL with `transport=tcp`. @defaultValue false */
  readonly iceTcp?: boolean
  /** Balancers whose ICE-TCP connections begin with a PROXY protocol header. @defaultValue none */
  readonly tcpProxyProtocolFrom?: readonly string[]
  /** Most ICE-TCP connections; further ones are closed at once. @defaultValue 10,000 */
  readonly maxTcpConnections?: number
  /** The same of one address. @defaultValue 1000 */
  readonly maxTcpConnectionsPerAddress?: number
  /** Most ICE-TCP connections that have not proved a session; for one more the oldest is cut. @defaultValue 1000 */
  readonly maxTcpUnproven?: number
  /** The same of one address; further ones are closed at once. @defaultValue 32 */
  readonly maxTcpUnprovenPerAddress?: number
  /** How long an ICE-TCP connection may take to prove its session. @defaultValue 10,000 */
  readonly tcpProofTimeoutMs?: number
  /** Bytes that may wait to be sent on an ICE-TCP connection; what comes beyond is dropped. @defaultValue 524,288 */
  readonly maxTcpQueuedBytes?: number
  /** A session without packets from its client, or from its origin, for so long is ended. @defaultValue 30,000 */
  readonly idleTimeoutMs?: number
  /** Most sessions, those being made included; further ones get 503. @defaultValue 10,000 */
  readonly maxSessions?: number
  /**
   * Client addresses, and ICE-TCP connections, that one session may use at a time; beyond, the one longest known is
   * forgotten. @defaultValue 8
   */
  readonly maxRemotesPerSession?: number
  /** Whether `ice-ufrag` and `ice-pwd` query parameters reach the origin. @defaultValue false */
  readonly allowIceQuery?: boolean
  /** Largest body of a request, in bytes; a larger one gets 413. @defaultValue 65,536 */
  readonly maxOfferBytes?: number
  /** Largest body of an origin's answer, in bytes; a larger one counts as no answer. @defaultValue 262,144 */
  readonly maxAnswerBytes?: number
  /** How long a client may take to send its body. @defaultValue 10,000 */
  readonly requestTimeoutMs?: number
  /** How long a connection to an origin may take. @defaultValue 3000 */
  readonly connectTimeoutMs?: number
  /** How long an origin may take until its response begins. @defaultValue 5000 */
  readonly headersTimeoutMs?: number
  /** How long an origin may pause within its response. @defaultValue 10,000 */
  readonly bodyTimeoutMs?: number
  /** Origins that are tried for one request. @defaultValue 3 */
  readonly maxAttempts?: number
  /**
   * The address of an origin, or of its media, that is given by name; rejects when there is none. It may take as long as a
   * connection. @defaultValue the system's resolver
   */
  readonly resolveHost?: (name: string) => Promise<string>
  /** Opens a connection to an origin's API, over TLS where its URL says so. @defaultValue that of the machine */
  readonly dial?: Dial
  /**
   * What becomes of media whose session another gateway began and whose password nobody told: it was signalled by another
   * program (the SRS proxy), or gateways share no secret. Then no request can prove to belong to the session.
   * `bind-once`: while no living gateway serves it, the first address that names it gets it, for good. @defaultValue `refuse`
   */
  readonly unverified?: 'refuse' | 'bind-once'
  /**
   * Whether `close` leaves the sessions that are left to other gateways, which prove and serve them by the shared store,
   * and tells no origin. @defaultValue false
   */
  readonly leaveOnClose?: boolean
  /**
   * Sessions of other gateways that are looked up or taken over at a time; beyond, nothing is asked. A quarter is kept for
   * those who cannot forge their address: requests by HTTP, and ICE-TCP. Idle sessions of our own that are looked up before
   * they end are bounded by the same number. @defaultValue 256
   */
  readonly maxLookups?: number
  /** Look-ups per second, a quarter of which is kept in the same way. @defaultValue 2000 */
  readonly lookupsPerSecond?: number
  /** The same of one source: a /24 of IPv4 or a /48 of IPv6. @defaultValue 20 */
  readonly lookupsPerSecondPerSource?: number
  /** Sources that are remembered; beyond, the one heard of longest ago is forgotten. @defaultValue 10,000 */
  readonly maxLookupSources?: number
  /** How long a look-up may take. @defaultValue 3000 */
  readonly lookupTimeoutMs?: number
  /** How long a name that nobody knows is not asked for again. @defaultValue 5000 */
  readonly unknownForMs?: number
  /** Names that are remembered so; beyond, the oldest is forgotten. @defaultValue 10,000 */
  readonly maxUnknown?: number
  readonly clock?: Clock
  /** Unguessable bytes for Locations. @defaultValue node:crypto's */
  readonly random?: (bytes: number) => Buffer
}

const defaults: Required<
  Omit<WebRtcOptions, 'datapath' | 'balancer' | 'sessionStore' | 'streamKeyOf' | 'logger' | 'registry'>
> = {
  origins: { list: async () => [], findOrigin: async () => undefined },
  access: openAccess,
  clientOf: httpClientOf(new AddressRanges([])),
  mediaListen: [{ addresses: ['0.0.0.0', '::'], port: 8000 }],
  publicAddresses: [],
  keepOriginAddresses: false,
  tcpListen: [],
  tcpPublicAddresses: [],
  iceTcp: false,
  tcpProxyProtocolFrom: [],
  maxTcpConnections: 10_000,
  maxTcpConnectionsPerAddress: 1000,
  maxTcpUnproven: 1000,
  maxTcpUnprovenPerAddress: 32,
  tcpProofTimeoutMs: 10_000,
  maxTcpQueuedBytes: 524_288,
  idleTimeoutMs: 30_000,
  maxSessions: 10_000,
  maxRemotesPerSession: 8,
  allowIceQuery: false,
  maxOfferBytes: 65_536,
  maxAnswerBytes: 262_144,
  requestTimeoutMs: 10_000,
  connectTimeoutMs: 3000,
  headersTimeoutMs: 5000,
  bodyTimeoutMs: 10_000,
  maxAttempts: 3,
  resolveHost: async (name: string): Promise<string> => (await lookup(name)).address,
  dial: dialTcp,
  unverified: 'refuse',
  leaveOnClose: false,
  maxLookups: 256,
  lookupsPerSecond: 2000,
  lookupsPerSecondPerSource: 20,
  maxLookupSources: 10_000,
  lookupTimeoutMs: 3000,
  unknownForMs: 5000,
  maxUnknown: 10_000,
  clock: systemClock,
  random: randomBytes,
}

/** Options with every default filled in. */
export type CompleteWebRtcOptions = Required<WebRtcOptions>

/** Fills the defaults in. @throws WEBRTC_BAD_OPTION, NET_BAD_RANGE */
export function completeOptions(options: WebRtcOptions): CompleteWebRtcOptions {
  const complete = { ...defaults, ...options }
  for (const [name, value] of Object.entries(complete)) {
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 1)) {
      throw badOption(`${name} is ${value}: must be a whole number from 1 up`)
    }
  }
  if (complete.mediaListen.length === 0) throw badOption('mediaListen is empty: media needs a UDP port')
  if (complete.iceTcp && complete.tcpListen.length === 0) throw badOption('iceTcp needs tcpListen')
  const { clock, connectTimeoutMs, resolveHost } = complete
  return {
    ...complete,
    resolveHost: (name) => inTime(resolveHost(name), clock, connectTimeoutMs),
    logger: options.logger.child({ component: 'webrtc' }),
  }
}

function badOption(message: string): WebRtcError {
  return new WebRtcError('WEBRTC_BAD_OPTION', message, 500, { side: 'self', retryable: false })
}
