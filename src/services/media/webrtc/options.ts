import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type {
  Balancer,
  HttpStreamRequest,
  SessionStore,
  StreamKey,
} from '../../../mechanisms/balancer/index.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import { type Dial, dialTcp } from '../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import { WebRtcError } from './errors.ts'
import type { ConfiguredAddress } from './public-addresses.ts'

/** What the WebRTC service is given; the composition root builds it. */
export interface WebRtcOptions {
  readonly datapath: Datapath
  readonly balancer: Pick<Balancer, 'pick'>
  readonly sessionStore: Pick<SessionStore, 'addSession' | 'renewSession' | 'removeSession'>
  /** The routing key of a request. Its errors reach the client with their status and code. */
  readonly streamKeyOf: (request: HttpStreamRequest) => StreamKey
  readonly logger: Logger
  readonly registry: Registry
  /** Local addresses on which clients' media is heard; `0.0.0.0` and `::` stand for all of their family. @defaultValue both */
  readonly mediaAddresses?: readonly string[]
  /** UDP port of clients' media; 0 takes any free one. @defaultValue 8000 */
  readonly mediaPort?: number
  /** Addresses that clients are told, one candidate each. Empty: the address on which the request came in. @defaultValue none */
  readonly publicAddresses?: readonly ConfiguredAddress[]
  /** A session without packets from its client, or from its origin, for so long is ended. @defaultValue 30,000 */
  readonly idleTimeoutMs?: number
  /** Most sessions, those being made included; further ones get 503. @defaultValue 10,000 */
  readonly maxSessions?: number
  /** Client addresses that one session may use at a time; beyond, the one longest known is forgotten. @defaultValue 8 */
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
  /** The address of an origin that registered by name; rejects when there is none. @defaultValue the system's resolver */
  readonly resolveHost?: (name: string) => Promise<string>
  /** Opens a connection to an origin's API. @defaultValue node:net's */
  readonly dial?: Dial
  readonly clock?: Clock
  /** Unguessable bytes for Locations. @defaultValue node:crypto's */
  readonly random?: (bytes: number) => Buffer
}

const defaults: Required<
  Omit<WebRtcOptions, 'datapath' | 'balancer' | 'sessionStore' | 'streamKeyOf' | 'logger' | 'registry'>
> = {
  mediaAddresses: ['0.0.0.0', '::'],
  mediaPort: 8000,
  publicAddresses: [],
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
  clock: systemClock,
  random: randomBytes,
}

/** Options with every default filled in. */
export type CompleteWebRtcOptions = Required<WebRtcOptions>

/** Fills the defaults in. @throws WEBRTC_BAD_OPTION */
export function completeOptions(options: WebRtcOptions): CompleteWebRtcOptions {
  const complete = { ...defaults, ...options }
  for (const [name, value] of Object.entries(complete)) {
    const least = name === 'mediaPort' ? 0 : 1
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= least)) {
      throw new WebRtcError(
        'WEBRTC_BAD_OPTION',
        `${name} is ${value}: must be a whole number from ${least} up`,
        500,
        {
          side: 'self',
          retryable: false,
        },
      )
    }
  }
  return { ...complete, logger: options.logger.child({ component: 'webrtc' }) }
}
