import type { Redis } from '../../redis/index.ts'
import type { StreamKey } from '../stream-key.ts'

/** Names of what gateways share; those of the SRS proxy are its own (reference: Redis keys and values). */
export const KEY = {
  server: (originId: string): string => `srs-proxy-server:${originId}`,
  allServers: 'srs-proxy-all-servers',
  url: (key: StreamKey): string => `srs-proxy-url:${key}`,
  hls: (key: StreamKey): string => `srs-proxy-hls:${key}`,
  hlsId: (id: string): string => `srs-proxy-spbhid:${id}`,
  rtc: (key: StreamKey): string => `srs-proxy-rtc:${key}`,
  ufrag: (username: string): string => `srs-proxy-ufrag:${username}`,
  /** The USERNAME of the session with this token. */
  session: (tokenHash: string): string => `sluice-session:${tokenHash}`,
  /** Origins that are not SRS, as `allServers` has those that are. */
  otherServers: 'sluice-servers',
  /** Hash: ids of origins that an operator removed, while those who did not hear of it may still know them. */
  removed: 'sluice-removed',
  /** Hash: stream key to where an operator pinned it. */
  pins: 'sluice-pins',
  /** Hash: ids of origins that an operator drains. */
  drained: 'sluice-drained',
} as const

/** Of one stream, and all in one slot of a Cluster, so that a script may take them together. */
export interface StreamKeys {
  /** Text: the server key of its origin. */
  readonly url: string
  /**
   * Hash: gateways that publish it, or `@` and the id of an origin that says it has it, to a server key; `!@` and the id of
   * one that has taken that back, to when.
   */
  readonly publish: string
  /** Hash: gateways that play it, to a server key. */
  readonly play: string
  /** Text: the server key that takes the place of one which gives way, while its origin has not answered. */
  readonly next: string
}

/** Whole texts, with the prefix. */
export function streamKeys(redis: Pick<Redis, 'key'>, key: StreamKey): StreamKeys {
  const url = redis.key(KEY.url(key))
  return {
    url,
    publish: besides(url, 'sluice-publish'),
    play: besides(url, 'sluice-play'),
    next: besides(url, 'sluice-next'),
  }
}

/**
 * A key of our own in the slot of another one: Cluster hashes what is in the first braces of a key, else all of it. A key
 * that has no tag but a closing brace has no such neighbour; on a Cluster scripts for it fail, and its stream is placed by
 * each gateway for itself.
 */
function besides(key: string, name: string): string {
  return hasTag(key) ? `${name}:${key}` : `${name}:{${key}}`
}

function hasTag(key: string): boolean {
  const open = key.indexOf('{')
  return open >= 0 && key.indexOf('}', open) > open + 1
}
