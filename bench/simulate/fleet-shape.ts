import { parseArgs } from 'node:util'

/** How large a fleet is, and what goes on in it. */
export interface FleetShape {
  readonly gateways: number
  readonly origins: number
  /** Seconds from one heartbeat of an origin to its next. */
  readonly heartbeatSeconds: number
  /** Sessions of media at a time, publishers and players. */
  readonly sessions: number
  /** How long one lasts. */
  readonly sessionMinutes: number
  /** Sessions of one stream, its publisher among them. */
  readonly perStream: number
  /** Part of the sessions that are WebRTC: only these stand in Redis themselves; the others are uses of a stream. */
  readonly webrtcShare: number
  /** Part of the WebRTC sessions whose media comes in at another gateway than their SDP. */
  readonly movedShare: number
  /** Servers of a Redis Cluster; 1 is no Cluster. */
  readonly redisNodes: number
}

export interface SimulateOptions {
  readonly shape: FleetShape
  /** Takes the figures of the machine anew from a redis-server and keeps them in `measured.json`. */
  readonly isMeasuring: boolean
  /** Sessions that the server is filled with for that. */
  readonly filledSessions: number
  /** Where all figures go as JSON. */
  readonly json?: string
}

const NUMBERS = {
  gateways: { byDefault: 200, least: 1 },
  origins: { byDefault: 5000, least: 1 },
  'heartbeat-seconds': { byDefault: 9, least: 1 },
  sessions: { byDefault: 2_000_000, least: 1 },
  'session-minutes': { byDefault: 20, least: 0.1 },
  'per-stream': { byDefault: 10, least: 1 },
  'webrtc-share': { byDefault: 1, least: 0, most: 1 },
  'moved-share': { byDefault: 1, least: 0, most: 1 },
  'redis-nodes': { byDefault: 1, least: 1 },
  'filled-sessions': { byDefault: 100_000, least: 1000 },
} as const

type NumberName = keyof typeof NUMBERS

/** @throws Error that names the option, its value and what is allowed */
export function parseSimulateOptions(args: readonly string[]): SimulateOptions {
  const numberOptions = Object.fromEntries(
    Object.keys(NUMBERS).map((name) => [name, { type: 'string' }] as const),
  )
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...numberOptions,
      measure: { type: 'boolean', default: false },

      json: { type: 'string' },
    },
  })
  const given: Readonly<Record<string, unknown>> = values
  const number = (name: NumberName): number => numberOf(name, given[name])
  return {
    shape: {
      gateways: number('gateways'),
      origins: number('origins'),
      heartbeatSeconds: number('heartbeat-seconds'),
      sessions: number('sessions'),
      sessionMinutes: number('session-minutes'),
      perStream: number('per-stream'),
      webrtcShare: number('webrtc-share'),
      movedShare: number('moved-share'),
      redisNodes: number('redis-nodes'),
    },
    isMeasuring: given['measure'] === true,
    filledSessions: number('filled-sessions'),
    ...(typeof given['json'] === 'string' && { json: given['json'] }),
  }
}

function numberOf(name: NumberName, given: unknown): number {
  const { byDefault, least, most = Number.POSITIVE_INFINITY }: NumberRange = NUMBERS[name]
  if (typeof given !== 'string') return byDefault
  const value = Number(given)
  if (value >= least && value <= most) return value
  throw new Error(
    `--${name} ${given}: a number from ${least}${most < Number.POSITIVE_INFINITY ? ` to ${most}` : ''}`,
  )
}

interface NumberRange {
  readonly byDefault: number
  readonly least: number
  readonly most?: number
}
