import { afterAll, beforeAll, test } from 'vitest'
import { SharedRedisStage } from './harness/shared-redis-stage.ts'
import { type RedisProcess, startRedis } from './redis/redis-process.ts'
import { ToxicLink } from './redis/toxic-link.ts'

const timeout = 240_000
let redis: RedisProcess
let link: ToxicLink
let stage: SharedRedisStage

beforeAll(async () => {
  redis = await startRedis()
  link = await ToxicLink.start({ toPort: redis.port })
  stage = await SharedRedisStage.start({ url: `redis://127.0.0.1:${link.port}` })
}, timeout)

afterAll(async () => {
  await stage[Symbol.asyncDispose]()
  await link[Symbol.asyncDispose]()
  await redis.stop()
})

test('nobody notices that Redis is flushed', { timeout }, async () => {
  await stage.expectUnnoticed({ begin: () => redis.command('FLUSHALL') })
})

test('nobody notices that Redis is killed for half a minute, and comes back without its data', {
  timeout,
}, async () => {
  await stage.expectUnnoticed({ begin: () => redis.kill(), end: () => redis.restart(), seconds: 40 })
})

test('nobody notices that Redis takes everything and answers nothing', { timeout }, async () => {
  await stage.expectUnnoticed({ begin: () => redis.pause(), end: async () => redis.resume() })
})

test('nobody who plays or publishes notices that Redis takes its time', { timeout }, async () => {
  await stage.expectUnnoticed({
    begin: async () => {
      link.latencyMs = 200
    },
  })
})
