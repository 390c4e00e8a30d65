import { type Fleet, type GatewayId, isGatewayId } from '../../fleet/index.ts'
import type { Redis } from '../../redis/index.ts'
import type { OriginId, Stream } from '../contract.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { KEY, streamKeys } from './keys.ts'
import type { SharedOrigins } from './shared-origins.ts'
import { PENDING_MS, type SharedPicks } from './shared-picks.ts'
import { textsOf } from './stream-place.ts'

/** Most streams of others that are looked up for a list. */
const MOST_STREAMS = 100_000
const AT_A_TIME = 500

export interface SharedStreamsParts {
  readonly redis: Redis
  readonly fleet: Pick<Fleet, 'id' | 'gone'>
  readonly origins: SharedOrigins
  readonly picks: SharedPicks
}

/** What Redis has of a stream. */
interface Found {
  readonly key: StreamKey
  readonly originId: OriginId
  /** Gateways; one that was killed is among them until somebody comes for the stream. */
  readonly publishers: readonly GatewayId[]
  readonly players: readonly GatewayId[]
  readonly isFollowed: boolean
}

/**
 * The streams of this gateway and those that others have in Redis, each with the gateways that use it. For operators'
 * requests: costs a look at every stream.
 */
export async function sharedStreams(
  here: readonly Stream[],
  { redis, fleet, origins, picks }: SharedStreamsParts,
): Promise<readonly Stream[]> {
  const known = new Map<StreamKey, Stream>(
    here.map((stream) => [stream.key, { ...stream, gateways: picks.isUsed(stream.key) ? [fleet.id] : [] }]),
  )
  const prefix = redis.key(KEY.url('' as StreamKey))
  let names: readonly string[] = []
  try {
    if (redis.isUp) names = await redis.scan(`${escaped(prefix)}*`, MOST_STREAMS)
  } catch {
    // What is known here is better than nothing.
  }
  const others = names.flatMap((name) => streamKeyOfName(name.slice(prefix.length)) ?? [])
  const found: Found[] = []
  for (let at = 0; at < others.length; at += AT_A_TIME) {
    const some = others.slice(at, at + AT_A_TIME)
    const read = await Promise.all(some.map((key) => readStream(redis, origins, key).catch(() => undefined)))
    for (const stream of read) if (stream !== undefined) found.push(stream)
  }
  const users = new Set(found.flatMap(({ publishers, players }) => [...publishers, ...players]))
  const gone = await fleet.gone([...users]).catch((): ReadonlySet<GatewayId> => new Set())
  const living = (ids: readonly GatewayId[]): readonly GatewayId[] => ids.filter((id) => !gone.has(id))
  for (const { publishers, players, ...rest } of found) {
    const stream = { ...rest, publishers: living(publishers), players: living(players) }
    known.set(stream.key, merged(known.get(stream.key), stream, fleet.id))
  }
  return [...known.values()]
}

async function readStream(redis: Redis, origins: SharedOrigins, key: StreamKey): Promise<Found | undefined> {
  const keys = streamKeys(redis, key)
  const [place, publish, play, leftMs] = await Promise.all([
    redis.command('GET', keys.url),
    redis.command('HGETALL', keys.publish),
    redis.command('HGETALL', keys.play),
    redis.command('PTTL', keys.url),
  ])
  const originId = typeof place === 'string' ? origins.idOf(place) : undefined
  // The place of one that is gone goes with the next pick.
  if (originId === undefined || !(await origins.ensure(originId))) return undefined
  const usersAt = (flat: unknown): readonly string[] =>
    [...textsOf(flat)].flatMap(([who, where]) => (where === place ? [who] : []))
  const [publishers, players] = [usersAt(publish), usersAt(play)]
  // A choice that no origin has accepted.
  if (publishers.length + players.length === 0 && Number(leftMs) <= PENDING_MS) return undefined
  return {
    key,
    originId,
    publishers: publishers.filter(isGatewayId),
    players: players.filter(isGatewayId),
    isFollowed: publishers.some((who) => who.startsWith('@')),
  }
}

/** Counts the sessions of this gateway, and those of each other one as one. */
function merged(here: Stream | undefined, { publishers, players, ...found }: Found, me: GatewayId): Stream {
  const gateways = [...publishers, ...players]
  if (here === undefined) {
    const counts = { publishers: publishers.length, players: players.length }
    return { ...found, ...counts, isPinned: false, gateways }
  }
  return {
    ...here,
    // Those of others are among them, but for such as came since this gateway has last asked.
    publishers: Math.max(here.publishers, publishers.length),
    players: here.players + players.filter((id) => id !== me).length,
    gateways,
  }
}

function streamKeyOfName(text: string): StreamKey | undefined {
  try {
    return parseStreamKey(text)
  } catch {
    return undefined
  }
}

/** For SCAN, which takes patterns. */
function escaped(text: string): string {
  return text.replaceAll(/[*?[\]\\^]/g, (character) => `\\${character}`)
}
