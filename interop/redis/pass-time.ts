import type { ManualClock } from '../../src/foundation/clock.ts'
import type { Redis, RedisScript } from '../../src/mechanisms/redis/index.ts'

/** Makes every key of a prefix older. ARGV: 1 pattern of the keys; 2 by how many milliseconds. */
const AGE: RedisScript = {
  name: 'age',
  lua: `
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local left = redis.call('PTTL', key)
  if left > tonumber(ARGV[2]) then redis.call('PEXPIRE', key, left - ARGV[2])
  elseif left >= 0 then redis.call('DEL', key) end
end
return redis.call('PING')
`,
}

/** Renewals have time to be made between two steps, as they have in life. */
const STEP_MS = 20_000

/**
 * Moves a clock by hand and lets the keys in Redis grow as much older, so that what runs out there and here does so
 * together.
 */
export async function passTime(redis: Redis, clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    const step = Math.min(left, STEP_MS)
    await settled(redis)
    await redis.run(AGE, [redis.key('any')], [redis.key('*'), step])
    clock.advance(step)
  }
  await settled(redis)
}

/** What was begun is done when some commands behind it are. */
async function settled(redis: Redis): Promise<void> {
  for (let round = 0; round < 5; round++) await redis.command('EXISTS', redis.key('any'))
}
