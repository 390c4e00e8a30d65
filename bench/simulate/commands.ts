import { createHash } from 'node:crypto'
import { CHANGE_LIST } from '../../src/mechanisms/balancer/redis/server-list.ts'
import {
  KEEP_SESSION,
  REMOVE_VALUE,
  TAKE_SESSION,
} from '../../src/mechanisms/balancer/redis/session-scripts.ts'
import { gatewayMark } from '../../src/mechanisms/balancer/redis/srs-rtc-value.ts'
import { LEAVE, PICK, USE } from '../../src/mechanisms/balancer/redis/stream-scripts.ts'
import { RENEW as FLEET_RENEW } from '../../src/mechanisms/fleet/fleet-scripts.ts'
import type { RedisScript } from '../../src/mechanisms/redis/index.ts'
import {
  gatewayIdOf,
  keysOfStream,
  memberTextOf,
  rtcTextOf,
  serverKeyOf,
  serverTextOf,
  sessionKeysOf,
  sessionTextOf,
  usernameOf,
} from './samples.ts'

/** Scripts whose costs are measured; a server must have been given their texts. */
export const SCRIPTS: readonly RedisScript[] = [
  PICK,
  USE,
  LEAVE,
  FLEET_RENEW,
  CHANGE_LIST,
  KEEP_SESSION,
  TAKE_SESSION,
  REMOVE_VALUE,
]

/** Commands whose cost is measured by itself. */
export type CommandName = (typeof COMMAND_NAMES)[number]

export const COMMAND_NAMES = [
  'heartbeat',
  'listGet',
  'originGet',
  'pick',
  'use',
  'leave',
  'sessionWrite',
  'rtcSet',
  'tokenSet',
  'sessionGet',
  'sessionKeep',
  'sessionTake',
  'sessionRemove',
  'expire',
  'listChange',
  'publish',
  'fleetRenew',
] as const

type Part = string | number

/** So that what was filled does not run out while others are measured. */
const LONG_MS = 86_400_000
const wallMs = 1_790_000_000_000

/** How each is written, for the index-th of its kind. Data of `fill` is there. */
export const COMMANDS: Readonly<Record<CommandName, (index: number, of: Filled) => readonly Part[]>> = {
  heartbeat: (index, { origins }) => {
    const origin = index % origins
    return ['SET', serverKeyOf(origin), serverTextOf(origin, wallMs + index), 'EX', 300, 'GET']
  },
  listGet: () => ['GET', 'srs-proxy-all-servers'],
  originGet: (index, { origins }) => ['GET', serverKeyOf(index % origins)],
  pick: (index, { origins }) =>
    script(PICK, stringsOf(NEW_STREAMS + index), [serverKeyOf(index % origins), 30_000, '', '']),
  use: (index, { streams, origins }) => {
    const stream = index % streams
    const place = serverKeyOf(stream % origins)
    return script(USE, stringsOf(stream), [place, LONG_MS, gatewayIdOf(1 + (index % 9)), 'play', '', ''])
  },
  leave: (index, { streams }) => script(LEAVE, stringsOf(index % streams), [gatewayIdOf(199), LONG_MS]),
  sessionWrite: (index) => {
    const at = NEW_SESSIONS + (index % 50_000)
    return script(
      KEEP_SESSION,
      [sessionKeysOf(at, 0).ufrag],
      [LONG_MS, gatewayMark(gatewayIdOf(0)), sessionTextOf(at, at, 0)],
    )
  },
  rtcSet: (index, { streams }) => [
    'SET',
    sessionKeysOf(0, index % streams).rtc,
    rtcTextOf(index, index % streams),
    'PX',
    LONG_MS,
  ],
  tokenSet: (index) => {
    const at = NEW_SESSIONS + (index % 50_000)
    return ['SET', sessionKeysOf(at, 0).token, usernameOf(at), 'PX', LONG_MS]
  },
  sessionGet: (index, { sessions }) => ['GET', sessionKeysOf(index % sessions, 0).ufrag],
  expire: (index, { sessions }) => ['PEXPIRE', sessionKeysOf(index % sessions, 0).token, LONG_MS],
  sessionKeep: (index, { sessions }) =>
    script(
      KEEP_SESSION,
      [sessionKeysOf(index % sessions, 0).ufrag],
      [LONG_MS, gatewayMark(gatewayIdOf(0)), ''],
    ),
  sessionTake: (index, { sessions, streams }) => {
    const at = index % sessions
    return script(TAKE_SESSION, [sessionKeysOf(at, 0).ufrag], [LONG_MS, sessionTextOf(at, at % streams, 0)])
  },
  sessionRemove: (index) => {
    const at = NEW_SESSIONS + (index % 50_000)
    return script(REMOVE_VALUE, [sessionKeysOf(at, 0).ufrag], [gatewayMark(gatewayIdOf(0)), ''])
  },
  listChange: (index, { origins }) =>
    script(
      CHANGE_LIST,
      ['srs-proxy-all-servers'],
      [2, serverKeyOf(index % origins), serverKeyOf((index + 1) % origins)],
    ),
  publish: (index) => ['PUBLISH', 'sluice-bus', busMessage(index)],
  fleetRenew: (index, { gateways }) => {
    const gateway = index % gateways
    return script(
      FLEET_RENEW,
      ['sluice-gateways'],
      [gatewayIdOf(gateway), memberTextOf(gateway), 15_000, 1000, 8192],
    )
  },
}

/** How much a server was filled with. */
export interface Filled {
  readonly origins: number
  readonly streams: number
  readonly sessions: number
  readonly gateways: number
}

/** Streams and sessions from here on are new. */
const NEW_STREAMS = 10_000_000
const NEW_SESSIONS = 10_000_000
/** As the bus writes it. */
export function busMessage(index: number): string {
  return JSON.stringify({
    from: gatewayIdOf(index % 200),
    topic: 'sluice-origins',
    data: { key: serverKeyOf(index), draining: true },
  })
}

/** The keys of a stream, in the order in which scripts take them. */
function stringsOf(stream: number): readonly string[] {
  const { url, publish, play, next } = keysOfStream(stream)
  return [url, publish, play, next]
}

function script({ lua }: RedisScript, keys: readonly string[], args: readonly Part[]): readonly Part[] {
  return ['EVALSHA', createHash('sha1').update(lua).digest('hex'), keys.length, ...keys, ...args]
}
