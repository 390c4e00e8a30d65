import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Balancer, Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { ListenAddress } from '../../../mechanisms/net/index.ts'
import type { Logger, Registry } from '../../../mechanisms/telemetry/index.ts'
import { parseStreamId } from '../../../protocols/srt/index.ts'
import { type Access, openAccess } from '../access/index.ts'
import { SrtError } from './errors.ts'

/** What names a stream in a stream id. */
export interface SrtStreamRequest {
  /** Virtual host; undefined where the stream id names none. */
  readonly host: string | undefined
  /** `app/stream`, with its query. */
  readonly resource: string
}

/** What the SRT service is given; the composition root builds it. */
export interface SrtServiceOptions {
  /** Where callers are heard; a host that is absent means every address. */
  readonly listen: readonly ListenAddress[]
  readonly datapath: Datapath
  readonly balancer: Pick<Balancer, 'pick'>
  /** The routing key of a stream id. Its errors refuse the caller. */
  readonly streamKeyOf: (request: SrtStreamRequest) => StreamKey
  readonly logger: Logger
  readonly registry: Registry
  /** Who may publish and play. @defaultValue everybody */
  readonly access?: Access
  /** Stands for the stream id of callers that send none, as `default_streamid` of SRS. Empty: they are refused. @defaultValue none */
  readonly defaultStreamId?: string
  /**
   * What a caller wants whose stream id is no more than `app/stream`. Stream ids with keys and without `m` play, as at SRS.
   * @defaultValue `publish`: those who can enter only a name are encoders
   */
  readonly plainRole?: Role
  /**
   * The app of stream ids that are no more than a name, such as those of srt-file-transmit (`s`, `publish:s`). Empty: they
   * are refused. @defaultValue `live`, as at SRS
   */
  readonly plainApp?: string
  /** How long one origin may take for the handshake, in milliseconds; callers themselves give up after 3000. @defaultValue 1000 */
  readonly originTimeoutMs?: number
  /** How long a call may take until its session begins, access and all origins included, in milliseconds. @defaultValue 10,000 */
  readonly dialogueTimeoutMs?: number
  /** A session without packets from its caller, or from its origin, for so many milliseconds is ended. @defaultValue 15,000 */
  readonly idleMs?: number
  /** Most sessions; further callers are refused (1402). @defaultValue 10,000 */
  readonly maxSessions?: number
  /** The same of one source: an IPv4 address or the /64 of an IPv6 address. @defaultValue 1000 */
  readonly maxSessionsPerSource?: number
  /** Most calls that are being answered; further callers are refused (1402). @defaultValue 1000 */
  readonly maxDialogues?: number
  /** The same of one source. @defaultValue 100 */
  readonly maxDialoguesPerSource?: number
  /** Most origins that are tried for one caller. @defaultValue 3 */
  readonly maxOrigins?: number
  /** The address of an origin that is known by name; rejects when there is none. @defaultValue the system's resolver */
  readonly resolveHost?: (name: string) => Promise<string>
  readonly clock?: Clock
  /** Unguessable bytes for the key of cookies and for session ids. @defaultValue node:crypto's */
  readonly random?: (bytes: number) => Buffer
}

/** Options with every default filled in. */
export type CompleteSrtOptions = Required<SrtServiceOptions>

const defaults = {
  access: openAccess,
  defaultStreamId: '',
  plainRole: 'publish' as Role,
  plainApp: 'live',
  originTimeoutMs: 1000,
  dialogueTimeoutMs: 10_000,
  idleMs: 15_000,
  maxSessions: 10_000,
  maxSessionsPerSource: 1000,
  maxDialogues: 1000,
  maxDialoguesPerSource: 100,
  maxOrigins: 3,
  resolveHost: async (name: string): Promise<string> => (await lookup(name)).address,
  clock: systemClock,
  random: randomBytes,
}

/** Fills the defaults in. @throws SRT_BAD_OPTION */
export function completeOptions(options: SrtServiceOptions): CompleteSrtOptions {
  const complete = { ...defaults, ...options }
  for (const [name, value] of Object.entries(complete)) {
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 1)) {
      throw badOption(`${name} is ${value}: must be a whole number from 1 up`)
    }
  }
  const { defaultStreamId } = complete
  const fault = defaultStreamId === '' ? undefined : parseStreamId(defaultStreamId)
  if (typeof fault === 'string') throw badOption(`defaultStreamId is ${defaultStreamId}: ${fault}`)
  return { ...complete, logger: options.logger.child({ component: 'srt' }) }
}

function badOption(message: string): SrtError {
  return new SrtError('SRT_BAD_OPTION', message, { side: 'self' })
}
