import type { RedisScript } from '../../redis/index.ts'
import { OURS_MARK } from './srs-rtc-value.ts'

/** Scripts of one key each: a session has its keys in several slots of a Cluster. */

/**
 * Renews a session unless another gateway serves it. ARGV: 1 for how long, in milliseconds; 2 the mark of this gateway; 3 its
 * value, or nothing where that is known to be there. Words: `kept`, `gone` (give the value), `other`.
 */
export const KEEP_SESSION: RedisScript = {
  name: 'keep-session',
  lua: `
local value = redis.call('GET', KEYS[1])
if value and string.find(value, '${OURS_MARK}', 1, true) and not string.find(value, ARGV[2], 1, true) then
  return 'other'
end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1])
  return 'kept'
end
if not value then return 'gone' end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'kept'
`,
}

/**
 * Puts this gateway's value in the place of another. ARGV: 1 for how long, in milliseconds; 2 the value; 3 nothing, or
 * `unserved`: only while it is there, and served by nobody or by the gateway with the mark ARGV 4, which has gone.
 * Answers whether that was done, 1 or 0, and the former value.
 */
export const TAKE_SESSION: RedisScript = {
  name: 'take-session',
  lua: `
local former = redis.call('GET', KEYS[1])
if ARGV[3] == 'unserved' then
  if not former then return { 0, '' } end
  local isServed = string.find(former, '${OURS_MARK}', 1, true)
  if isServed and not string.find(former, ARGV[4], 1, true) then return { 0, former } end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
return { 1, former or '' }
`,
}

/** Removes a key whose value has this in it, ARGV 1, and with `all` as ARGV 2 nothing else. Answers the value. */
export const REMOVE_VALUE: RedisScript = {
  name: 'remove-value',
  lua: `
local value = redis.call('GET', KEYS[1])
if not value then return false end
if value ~= ARGV[1] and (ARGV[2] == 'all' or not string.find(value, ARGV[1], 1, true)) then return false end
redis.call('DEL', KEYS[1])
return value
`,
}
