import { afterAll, beforeAll, test } from 'vitest'
import { SharedRedisStage } from './harness/shared-redis-stage.ts'
import { type RedisProcess, startRedis } from './redis/redis-process.ts'

const timeout = 240_000
let redis: RedisProcess
let stage: SharedRedisStage

beforeAll(async () => {
  redis = await startRedis()
  stage = await SharedRedisStage.start({ url: redis.url })
}, timeout)

afterAll(async () => {
  await stage[Symbol.asyncDispose]()
  await redis.stop()
})

test('nobody notices that Redis is flushed', { timeout }, async () => {
  await stage.expectUnnoticed({ begin: () => redis.command('FLUSHALL') })
})

test('nobody notices that Redis is killed, and started again without its data', { timeout }, async () => {
  await stage.expectUnnoticed({ begin: () => redis.kill(), end: () => redis.restart() })
})

test('nobody notices that Redis takes everything and answers nothing', { timeout }, async () => {
  await stage.expectUnnoticed({ begin: () => redis.pause(), end: async () => redis.resume() })
})
