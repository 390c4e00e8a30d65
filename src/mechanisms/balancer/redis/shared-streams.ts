import type { Redis } from '../../redis/index.ts'
import type { Stream } from '../contract.ts'
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
  readonly origins: SharedOrigins
  readonly picks: SharedPicks
  /** This gateway. */
  readonly self: string
}

/**
 * The streams of this gateway and those that others have in Redis, each with the gateways that use it. For operators'
 * requests: costs a look at every stream.
 */
export async function sharedStreams(
  here: readonly Stream[],
  { redis, origins, picks, self }: SharedStreamsParts,
): Promise<readonly Stream[]> {
  const known = new Map<StreamKey, Stream>(
    here.map((stream) => [stream.key, { ...stream, gateways: picks.isUsed(stream.key) ? [self] : [] }]),
  )
  const prefix = redis.key(KEY.url('' as StreamKey))
  let names: readonly string[] = []
  try {
    if (redis.isUp) names = await redis.scan(`${escaped(prefix)}*`, MOST_STREAMS)
  } catch {
    // What is known here is better than nothing.
  }
  const others = names.flatMap((name) => streamKeyOfName(name.slice(prefix.length)) ?? [])
  for (let at = 0; at < others.length; at += AT_A_TIME) {
    await Promise.all(
      others.slice(at, at + AT_A_TIME).map(async (key) => {
        const stream = await read(redis, origins, key).catch(() => undefined)
        if (stream !== undefined) known.set(key, merged(known.get(key), stream))
      }),
    )
  }
  return [...known.values()]
}

async function read(redis: Redis, origins: SharedOrigins, key: StreamKey): Promise<Stream | undefined> {
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
  const gateways = publishers.filter((who) => !who.startsWith('@'))
  return {
    key,
    originId,
    publishers: gateways.length,
    players: players.length,
    isPinned: false,
    isFollowed: publishers.length > gateways.length,
    gateways: [...gateways, ...players],
  }
}

/** What this gateway knows of its own, and the rest as Redis has it. */
function merged(here: Stream | undefined, shared: Stream): Stream {
  return here === undefined ? shared : { ...here, gateways: shared.gateways ?? [] }
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
