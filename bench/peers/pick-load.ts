import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import {
  type BalancerStore,
  type Claim,
  type Hold,
  MemoryBalancerStore,
  parseStreamKey,
  RedisBalancerStore,
} from '../../src/mechanisms/balancer/index.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { newGatewayId, RedisFleet } from '../../src/mechanisms/fleet/index.ts'
import { createRedis, type Redis } from '../../src/mechanisms/redis/index.ts'
import { createLogger, Registry } from '../../src/mechanisms/telemetry/index.ts'

/**
 * Picks as fast as they come, from a store in this process: `pick-load.ts [--redis URL]`. A line of standard input is a run,
 * `--do new|known|alone --seconds N --warmup N`, and is answered with what it took.
 */

const ORIGINS = 50
const KNOWN_STREAMS = 1000
const AT_A_TIME = 64

interface Store {
  readonly store: BalancerStore
  /** Commands that were sent to Redis. */
  readonly commands: () => number
}

async function openStore(url: string | undefined): Promise<Store> {
  const local = new MemoryBalancerStore({ maxPicks: 1_000_000 })
  if (url === undefined) return { store: local, commands: () => 0 }
  const [logger, registry] = [createLogger({ level: 'warn' }), new Registry()]
  let commands = 0
  const link = createRedis({ url, logger })
  await link.start()
  const redis: Redis = {
    get isUp() {
      return link.isUp
    },
    key: (name) => link.key(name),
    command: (name, ...args) => {
      commands++
      return link.command(name, ...args)
    },
    run: (script, keys, args) => {
      commands++
      return link.run(script, keys, args)
    },
    scan: (pattern, limit) => link.scan(pattern, limit),
    subscribe: (channel, onMessage) => link.subscribe(channel, onMessage),
    publish: (channel, message) => {
      commands++
      return link.publish(channel, message)
    },
    onChange: (listener) => link.onChange(listener),
  }
  const fleet = new RedisFleet({
    redis,
    id: newGatewayId('bench'),
    version: '0',
    describe: describeIdle,
    logger,
    registry,
  })
  await fleet.start()
  const store = new RedisBalancerStore({ redis, fleet, local, logger, registry })
  await store.start()
  return { store, commands: () => commands }
}

const { values } = parseArgs({ options: { redis: { type: 'string' }, 'origin-port': { type: 'string' } } })
const { store, commands } = await openStore(values.redis)
await announceOrigins()
const held = await Promise.all(Array.from({ length: KNOWN_STREAMS }, (_, index) => use(`known-${index}`)))
let number = 0

process.stdout.write('{"ready":true}\n')
for await (const line of createInterface({ input: process.stdin })) {
  const order = parseArgs({
    args: line.split(' '),
    options: { do: { type: 'string' }, seconds: { type: 'string' }, warmup: { type: 'string' } },
  }).values
  await run(order.do, Number(order.warmup))
  process.stdout.write(`${JSON.stringify(await run(order.do, Number(order.seconds)))}\n`)
}
for (const hold of held) hold.end()
process.exit(0)

async function run(what: string | undefined, seconds: number): Promise<object> {
  const waitsMs: number[] = []
  const [startMs, cpu, sent] = [performance.now(), process.cpuUsage(), commands()]
  const endMs = startMs + seconds * 1000
  const worker = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < endMs; nowMs = performance.now()) {
      const hold = await use(
        what === 'known' ? `known-${number++ % KNOWN_STREAMS}` : `new-${number++}`,
        waitsMs,
      )
      hold.end()
    }
  }
  await Promise.all(Array.from({ length: what === 'alone' ? 1 : AT_A_TIME }, worker))
  const { user, system } = process.cpuUsage(cpu)
  const sorted = waitsMs.toSorted((a, b) => a - b)
  const quantileUs = (part: number): number => (sorted[Math.floor(sorted.length * part)] ?? 0) * 1000
  return {
    unit: 'picks',
    sent: sorted.length,
    delivered: sorted.length,
    loss: 0,
    seconds: (performance.now() - startMs) / 1000,
    cpuSeconds: (user + system) / 1e6,
    ...(what === 'alone' && { p50Us: quantileUs(0.5), p99Us: quantileUs(0.99) }),
    ...(values.redis !== undefined && { redisCommands: (commands() - sent) / Math.max(1, sorted.length) }),
  }
}

/** A stream is picked and the pick kept, as when somebody begins to play. */
async function use(stream: string, waitsMs?: number[]): Promise<Hold> {
  const beganMs = performance.now()
  const claim: Claim = await store.pick(parseStreamKey(`__defaultVhost__/live/${stream}`), 'rtmp', {
    role: 'play',
  })
  waitsMs?.push(performance.now() - beganMs)
  return claim.keep()
}

async function announceOrigins(): Promise<void> {
  for (let index = 0; index < ORIGINS; index++) {
    const ports = { rtmp: [1935], http: [8080], api: [1985], srt: [10_080], rtc: [8000] }
    const names = { server: `vid-${index}`, service: `service-${index}`, pid: String(index) }
    await store.announce({ ip: `10.0.0.${index + 1}`, ...names, ...ports })
  }
}
