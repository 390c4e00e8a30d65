import type { RedisScript } from '../redis/index.ts'

/**
 * Announces a gateway for another lease and gives the others. One hash has them all: id to `<end of lease> <entry>`, in
 * milliseconds of Redis' own clock, so that gateways need not agree on the time. Whatever has run out is taken away, and so
 * is what cannot be a lease: too long a text, or an end too far ahead (Redis' clock was set back). Where there is far more than
 * gateways can have left behind, something else has written there: all goes, and each gateway comes back by its next renewal.
 *
 * KEYS: the hash. ARGV: id, entry, lease in milliseconds, most gateways, longest entry in bytes.
 * Gives `full`, or `ok`, this gateway's own entry as it was ('' when it had none, or that had run out), and then id and entry
 * of each other.
 */
export const RENEW: RedisScript = {
  name: 'fleet-renew',
  lua: `
local id, entry, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most, longest = tonumber(ARGV[4]), tonumber(ARGV[5]) + 20
local day_ms = 86400000
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HLEN', KEYS[1]) > 2 * most then redis.call('DEL', KEYS[1]) end
local reply = {'ok', ''}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  local _, last, until_ms = string.find(value, '^(%d+) ')
  until_ms = tonumber(until_ms)
  if not until_ms or until_ms <= now_ms or until_ms > now_ms + day_ms or #value > longest then
    redis.call('HDEL', KEYS[1], field)
  elseif field == id then
    reply[2] = string.sub(value, last + 1)
  else
    reply[#reply + 1] = field
    reply[#reply + 1] = string.sub(value, last + 1)
  end
end
if reply[2] == '' and #reply / 2 > most then return {'full'} end
redis.call('HSET', KEYS[1], id, string.format('%.0f ', now_ms + lease_ms) .. entry)
redis.call('PEXPIRE', KEYS[1], day_ms)
return reply
`,
}

/**
 * Takes a gateway's entry away, unless another run of the same id has put its own there.
 *
 * KEYS: the hash. ARGV: id, a text that only the entry of this run holds.
 */
export const LEAVE: RedisScript = {
  name: 'fleet-leave',
  lua: `
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value and string.find(value, ARGV[2], 1, true) then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
`,
}
