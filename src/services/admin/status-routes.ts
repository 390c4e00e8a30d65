import type { Clock } from '../../foundation/clock.ts'
import type { SessionDirectory, SessionInfo } from '../../foundation/session-info.ts'
import {
  type Balancer,
  type OriginRegistry,
  originView,
  type OriginView,
  type Stream,
} from '../../mechanisms/balancer/index.ts'
import type { Fleet } from '../../mechanisms/fleet/index.ts'
import type { ApiReply, ApiRoute } from '../../mechanisms/http-api/index.ts'
import type { Redis } from '../../mechanisms/redis/index.ts'
import { badQuery } from './errors.ts'
import { type GatewayView, gatewayView, isoTime, type RedisView, redisView } from './gateway-view.ts'
import { type ReadinessCheck, type ReadinessView, readinessView } from './readiness.ts'

/** Whom the status is asked of. */
export interface StatusParts {
  readonly fleet: Pick<Fleet, 'id' | 'members'>
  /** Absent: gateways share nothing. */
  readonly redis: Pick<Redis, 'isUp'> | undefined
  readonly balancer: Pick<OriginRegistry, 'list'> & Pick<Balancer, 'streams'>
  readonly sessions: readonly SessionDirectory[]
  readonly readiness: readonly ReadinessCheck[]
  readonly clock: Clock
}

/** `GET /api/v1/fleet`. */
export interface FleetView {
  /** The one that answers. */
  readonly gateway: string
  readonly redis: RedisView
  readonly gateways: readonly GatewayView[]
}

export type StreamView = Omit<Stream, 'sinceMs'> & {
  /** ISO 8601; absent when it is used through other gateways only. */
  readonly since?: string
  /** Through which it is published or played. */
  readonly gateways: readonly string[]
}

/** `GET /api/v1/status`: all that `sluice status` shows. */
export interface StatusView extends FleetView {
  readonly readiness: ReadinessView
  readonly origins: readonly OriginView[]
  readonly streams: {
    readonly count: number
    /** The first ones by their keys. */
    readonly list: readonly StreamView[]
  }
  /** Of the gateway that answers, by protocol. */
  readonly sessions: Readonly<Record<SessionInfo['protocol'], number>>
}

/** Streams in an answer when nothing is said of it. */
const DEFAULT_STREAMS = 50
const MAX_STREAMS = 100_000

/** The fleet, its streams, and both in one answer. `?streams=n` says how many are listed there. */
export function statusRoutes(parts: StatusParts): readonly ApiRoute[] {
  return [
    { method: 'GET', path: '/api/v1/fleet', handle: (): ApiReply => ({ json: fleetView(parts) }) },
    {
      method: 'GET',
      path: '/api/v1/streams',
      handle: async (): Promise<ApiReply> => {
        const streams = await parts.balancer.streams()
        return { json: { streams: streams.map((stream) => streamView(stream, parts)) } }
      },
    },
    {
      method: 'GET',
      path: '/api/v1/status',
      handle: async ({ query }): Promise<ApiReply> => ({
        json: await statusView(parts, streamsAskedFor(query)),
      }),
    },
  ]
}

function fleetView({ fleet, redis, clock }: StatusParts): FleetView {
  const nowMs = clock.wallMs()
  return {
    gateway: fleet.id,
    redis: redisView(redis),
    gateways: fleet.members().map((member) => gatewayView(member, nowMs)),
  }
}

async function statusView(parts: StatusParts, most: number): Promise<StatusView> {
  const nowMs = parts.clock.wallMs()
  const [origins, streams] = await Promise.all([parts.balancer.list(), parts.balancer.streams()])
  const first = streams.toSorted((a, b) => (a.key < b.key ? -1 : 1)).slice(0, most)
  return {
    ...fleetView(parts),
    readiness: readinessView(parts.readiness),
    origins: origins.map((origin) => originView(origin, nowMs)),
    streams: { count: streams.length, list: first.map((stream) => streamView(stream, parts)) },
    sessions: sessionCounts(parts.sessions),
  }
}

/** Where a store does not tell of gateways, it has only what goes through this one. */
function streamView({ sinceMs, ...shown }: Stream, { fleet }: StatusParts): StreamView {
  const here = shown.publishers + shown.players > 0 ? [fleet.id] : []
  return {
    ...shown,
    gateways: shown.gateways ?? here,
    ...(sinceMs !== undefined && { since: isoTime(sinceMs) }),
  }
}

function sessionCounts(directories: readonly SessionDirectory[]): StatusView['sessions'] {
  const counts = { webrtc: 0, rtmp: 0, http: 0, hls: 0, srt: 0 }
  for (const directory of directories) for (const { protocol } of directory.listSessions()) counts[protocol]++
  return counts
}

function streamsAskedFor(query: URLSearchParams): number {
  const text = query.get('streams')
  if (text === null) return DEFAULT_STREAMS
  if (/^\d{1,6}$/.test(text) && Number(text) <= MAX_STREAMS) return Number(text)
  throw badQuery(`streams must be a whole number from 0 to ${MAX_STREAMS}`)
}
