/**
 * Whether the model counts as the code does: one gateway's real store, at a real Redis, with a clock that is moved by hand.
 * `npx tsx bench/simulate/probe.ts` prints commands per second of both; a few seconds.
 */
import { ManualClock } from '../../src/foundation/clock.ts'
import type { Hold } from '../../src/mechanisms/balancer/index.ts'
import { MemoryBalancerStore, RedisBalancerStore } from '../../src/mechanisms/balancer/index.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { newGatewayId, RedisFleet } from '../../src/mechanisms/fleet/index.ts'
import { createRedis, type Redis } from '../../src/mechanisms/redis/index.ts'
import { createLogger, Registry } from '../../src/mechanisms/telemetry/index.ts'
import { endChildrenAtExit } from '../child.ts'
import { RedisServer } from '../redis-server.ts'
import { textTable } from '../report/table.ts'
import { parseSimulateOptions } from './fleet-shape.ts'
import { readPeriods } from './periods.ts'
import { ratesOf } from './rates.ts'
import { announcementOf, rtcSessionOf, streamKeyOf } from './samples.ts'
import { short } from './text.ts'

const ORIGINS = 100
const SESSIONS = 1000
const PER_STREAM = 2
const SETTLE_SECONDS = 300
const SECONDS = 600
const HEARTBEAT_SECONDS = 10
/** How often those who use a session say so. */
const SAID_SECONDS = 30

/** What commands of the model are called where they are sent. */
const NAMES: Readonly<Record<string, string>> = {
  heartbeat: 'SET',
  listGet: 'GET',
  originGet: 'GET',
  use: 'use',
  sessionKeep: 'keep-session',
  expire: 'PEXPIRE',
  fleetRenew: 'fleet-renew',
}

endChildrenAtExit()
const server = await RedisServer.start()
try {
  process.stdout.write(`${textTable(compared(await countsOf(server.url)))}\n`)
} finally {
  await server.stop()
}

/** Starts a gateway's store, fills it, and lets time pass: the commands of that time by name. */
async function countsOf(url: string): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const clock = new ManualClock()
  const [logger, registry] = [createLogger({ level: 'warn' }), new Registry()]
  const link = createRedis({ url, logger })
  await link.start()
  const redis = counting(link, counts)
  const fleet = new RedisFleet({
    redis,
    id: newGatewayId('probe'),
    version: '0',
    describe: describeIdle,
    logger,
    registry,
    clock,
  })
  await fleet.start()
  const local = new MemoryBalancerStore({ clock })
  const store = new RedisBalancerStore({
    redis,
    fleet,
    local,
    logger,
    registry,
    clock,
    secret: 'of the probe',
  })
  await store.start()
  for (let origin = 0; origin < ORIGINS; origin++) await store.announce(announcementOf(origin))
  const holds: Hold[] = []
  for (let session = 0; session < SESSIONS; session++) {
    const stream = Math.floor(session / PER_STREAM)
    const claim = await store.pick(streamKeyOf(stream), 'whep', { role: 'play' })
    holds.push(await claim.keep())
    await store.addSession(rtcSessionOf(session, stream))
    // Sessions begin at different times.
    if (session % 10 === 0) await pass(clock, link)
  }
  for (let second = 0; second < SETTLE_SECONDS + SECONDS; second++) {
    if (second === SETTLE_SECONDS) counts.clear()
    for (let origin = second % HEARTBEAT_SECONDS; origin < ORIGINS; origin += HEARTBEAT_SECONDS) {
      await store.announce(announcementOf(origin))
    }
    for (let session = second % SAID_SECONDS; session < SESSIONS; session += SAID_SECONDS) {
      await store.renewSession(rtcSessionOf(session, Math.floor(session / PER_STREAM)).username)
    }
    await pass(clock, link)
  }
  const found = new Map(counts)
  for (const hold of holds) hold.end()
  await store.close()
  await fleet.close()
  await link.close()
  return found
}

/** A second, and what it leads to. */
async function pass(clock: ManualClock, redis: Redis): Promise<void> {
  clock.advance(1000)
  // Answers come in order, so what was asked before is answered then; some of it asks again.
  for (let round = 0; round < 3; round++) await redis.command('ECHO', 'done')
}

function counting(redis: Redis, counts: Map<string, number>): Redis {
  const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)
  return {
    get isUp() {
      return redis.isUp
    },
    key: (name) => redis.key(name),
    command: (name, ...args) => {
      count(name)
      return redis.command(name, ...args)
    },
    run: (script, keys, args) => {
      count(script.name)
      return redis.run(script, keys, args)
    },
    scan: (pattern, limit) => redis.scan(pattern, limit),
    subscribe: (channel, onMessage) => redis.subscribe(channel, onMessage),
    publish: (channel, message) => {
      count('PUBLISH')
      return redis.publish(channel, message)
    },
    onChange: (listener) => redis.onChange(listener),
  }
}

/** Nobody comes or goes here, so only what is renewed is compared. */
function compared(counts: ReadonlyMap<string, number>): string[][] {
  const { shape } = parseSimulateOptions([
    ...['--gateways', '1', '--origins', String(ORIGINS), '--sessions', String(SESSIONS)],
    ...['--per-stream', String(PER_STREAM), '--heartbeat-seconds', String(HEARTBEAT_SECONDS)],
    ...['--session-minutes', '1000000'],
  ])
  const modelled = new Map<string, number>()
  for (const { command, perSecond, what } of ratesOf(shape, readPeriods(), {
    origins: ORIGINS,
    gateways: 1,
  })) {
    // Whoever announces an origin need not read it; of the lists there are two, in one line of the model.
    const times = what.startsWith('lists') ? 2 : what.startsWith('origins') ? 0 : 1
    const name = /^(?:orders|removed)/.test(what) ? 'HGETALL' : NAMES[command]
    if (name !== undefined) modelled.set(name, (modelled.get(name) ?? 0) + times * perSecond)
  }
  const names = [...new Set([...counts.keys(), ...modelled.keys()])].toSorted()
  return [
    ['command', 'counted/s', 'by the model/s'],
    ...names.map((name) => [name, short((counts.get(name) ?? 0) / SECONDS), short(modelled.get(name) ?? 0)]),
  ]
}
