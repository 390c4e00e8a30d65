import type { RedisScript } from '../redis/index.ts'

/** Most ids of other gateways that a refusal names. */
const MAX_NAMED = 200
/** No gateway comes to say so many. */
export const MAX_NUMBER = 1e15

/**
 * Says how many a gateway holds of one user, and takes one more where it asks for that and all together stay within the
 * bound. The hash has a field for each gateway: `<count> <number> <end>`. Counts are absolute, so that saying one twice does
 * nothing; numbers count up, so that one which was overtaken on its way changes nothing; after its end, in seconds of Redis'
 * own clock, a count that was not said again is worth nothing.
 *
 * KEYS: the hash. ARGV: id, number, how many it holds, how many more it takes (0 or 1), the bound, the seconds for which
 * the count holds, then ids of gateways that are gone. Gives how many were granted, count and number that the hash has of
 * this gateway and, of a refusal, the ids of the others.
 */
export const SAY_COUNT: RedisScript = {
  name: 'quota-count',
  lua: `
local me, number, mine = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local more, most, seconds = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = tonumber(redis.call('TIME')[1])
for i = 7, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local own, own_number, others, ids = 0, 0, 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  local count, of, ends = string.match(value, '^(%d%d?%d?%d?%d?%d?%d?%d?%d?) (%d+) (%d+)$')
  count, of, ends = tonumber(count), tonumber(of), tonumber(ends)
  if not count or of > ${MAX_NUMBER} or ends <= now or ends > now + 86400 then
    redis.call('HDEL', KEYS[1], field)
  elseif field == me then
    own, own_number = count, of
  else
    others = others + count
    if #ids < ${MAX_NAMED} then ids[#ids + 1] = field end
  end
end
if more > 0 and others + mine + more > most then
  local reply = {0, own, own_number}
  for i = 1, #ids do reply[i + 3] = ids[i] end
  return reply
end
if number > own_number then
  own, own_number = mine + more, number
  if own > 0 then
    redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %.0f', own, number, now + seconds))
  else
    redis.call('HDEL', KEYS[1], me)
  end
  redis.call('EXPIRE', KEYS[1], seconds)
end
return {more, own, own_number}
`,
}
