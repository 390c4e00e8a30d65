import { fileURLToPath } from 'node:url'
import { gateway, gatewayWithRedis, redisUse } from './gateway-subject.ts'
import { RedisServer } from './redis-server.ts'
import type { Limit, Scenario, ScenarioGroup } from './scenario.ts'
import type { Subject, SubjectKind } from './subject.ts'
import type { Tools } from './tools.ts'

/** With what the names of all these scenarios begin. */
export const fleetPrefix = 'FLEET'

const inMemory = gateway('memory', 'http', 'auto')
const withRedis = gatewayWithRedis('Redis', 'http', 'auto')
/** A client alone: what it waits is what the gateway takes, and not the line of others. */
const oneClient = ['--clients', '1']

/** What it costs to share a Redis: picks, commands per session, latency. Empty where there is no redis-server. */
export function fleetGroups(tools: Tools): ScenarioGroup[] {
  if (!tools.hasRedis) return []
  return [
    {
      name: `${fleetPrefix}, picks`,
      load: [],
      loadProgram: [process.execPath, '--import', 'tsx', peer('pick-load.ts')],
      sessions: 0,
      subjects: [storeInMemory, storeInRedis],
      baseline: storeInMemory.name,
      scenarios: [
        picks('new', 'of new streams, kept and given back, 64 at a time'),
        picks('known', 'of 1,000 streams that are in use, 64 at a time'),
        picks('alone', 'of new streams, one at a time'),
      ],
      mostRounds: 5,
    },
    sessions('WHIP set-ups and deletes, one client', 'whip', [inMemory, withRedis], {
      // Quantiles of some thousand sessions.
      seconds: 4,
      warmupSeconds: 3,
      limits: [{ subject: withRedis.name, figure: 'p99AddedUs', atMost: 2000 }],
    }),
    sessions('RTMP publishers who come and go, one client', 'publish', [
      gateway('memory', 'rtmp', 'auto'),
      gatewayWithRedis('Redis', 'rtmp', 'auto'),
    ]),
    sessions('HLS viewers, each of a new stream: playlist and segment, one client', 'plays', [
      inMemory,
      withRedis,
    ]),
  ]
}

interface SessionOptions {
  readonly seconds?: number
  readonly warmupSeconds?: number
  readonly limits?: readonly Limit[]
}

function sessions(
  what: string,
  load: string,
  subjects: readonly SubjectKind[],
  { limits = [], warmupSeconds = 2, seconds }: SessionOptions = {},
): ScenarioGroup {
  const [memory] = subjects
  return {
    name: `${fleetPrefix}, ${what}`,
    load: [load, ...oneClient],
    sessions: 0,
    subjects,
    ...(memory && { baseline: memory.name }),
    scenarios: [
      {
        name: `${fleetPrefix}, ${what}`,
        order: [],
        warmupSeconds,
        ...(seconds !== undefined && { seconds }),
        comparisons: [{ subject: 'Redis', against: 'memory' }],
        limits,
      },
    ],
    mostRounds: 5,
  }
}

function picks(order: string, what: string): Scenario {
  return {
    name: `${fleetPrefix}, picks ${what}`,
    order: ['--do', order],
    warmupSeconds: 1,
    comparisons: [{ subject: storeInRedis.name, against: storeInMemory.name }],
    limits: [],
  }
}

/** The store is in the load itself, which counts its own CPU time. */
const storeInMemory: SubjectKind = {
  name: 'memory store',
  start: () => Promise.resolve({ children: [], loadOptions: [], close: () => Promise.resolve() }),
}

const storeInRedis: SubjectKind = { name: 'Redis store', start: startRedis }

async function startRedis(): Promise<Subject> {
  const redis = await RedisServer.start()
  return {
    children: [],
    redis: { read: () => redisUse(redis) },
    loadOptions: ['--redis', redis.url],
    close: () => redis.stop(),
  }
}

function peer(file: string): string {
  return fileURLToPath(new URL(`peers/${file}`, import.meta.url))
}
