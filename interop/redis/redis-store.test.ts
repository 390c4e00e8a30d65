import { afterAll, beforeAll } from 'vitest'
import { ManualClock } from '../../src/foundation/clock.ts'
import {
  type ConformanceSettings,
  describeBalancerStore,
  type StoreUnderTest,
} from '../../src/mechanisms/balancer/conformance.testkit.ts'
import { MemoryBalancerStore, RedisBalancerStore } from '../../src/mechanisms/balancer/index.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { LoneFleet, newGatewayId } from '../../src/mechanisms/fleet/index.ts'
import { createRedis } from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { passTime } from './pass-time.ts'

let server: RedisProcess
let stores = 0

beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => await server[Symbol.asyncDispose]())

describeBalancerStore('the Redis store', async (settings: ConformanceSettings): Promise<StoreUnderTest> => {
  const clock = new ManualClock(Date.now())
  const logger = createLogger({ level: 'error' })
  const { policy, zone, apps, ...times } = settings
  const registry = createRegistry('test')
  const redis = createRedis({ url: server.url, prefix: `test-${stores++}`, logger, registry })
  await redis.start()
  const fleet = new LoneFleet({
    id: newGatewayId('one'),
    version: '0',
    clock,
    describe: describeIdle,
  })
  const placement = { policy, ...(zone !== undefined && { zone }), ...(apps !== undefined && { apps }) }
  const local = new MemoryBalancerStore({ clock, ...placement, ...times })
  const store = new RedisBalancerStore({
    redis,
    fleet,
    local,
    logger,
    registry,
    clock,
    secret: 'of the tests',
    ...times,
  })
  await store.start()
  return {
    store,
    advance: (ms) => passTime(redis, clock, ms),
    async close() {
      await store.close()
      await redis.close()
    },
  }
})
