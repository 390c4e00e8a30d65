import type { RedisScript } from '../../redis/index.ts'

/**
 * What changes the place of one stream, atomically. Their keys are those of `StreamKeys`: 1 url, 2 publish, 3 play, 4 next.
 * Places are server keys; they and gateway ids are compared as texts. An answer is `{ place, word, publishers }`, with the
 * publishers as HGETALL gives them. Players are many, and in no answer.
 */

/**
 * Whether somebody publishes at `place`, but for the asking one; with `any` the origin itself may say so, too. A look at
 * few: a stream has one publisher, as a rule.
 */
const IS_PUBLISHED = `
local function isPublished(place, asker, any)
  local publishers = redis.call('HGETALL', KEYS[2])
  for at = 1, #publishers, 2 do
    local isOrigin = string.sub(publishers[at], 1, 1) == '@'
    if publishers[at + 1] == place and publishers[at] ~= asker and (any or not isOrigin) then return true end
  end
  return false
end
`

/** For how long what is used holds: what an origin says itself holds longer, at its place, and no use shortens that. */
const LASTING = `
local function lasting(ms, place)
  local publishers = redis.call('HGETALL', KEYS[2])
  for at = 1, #publishers, 2 do
    if string.sub(publishers[at], 1, 1) == '@' and (not place or publishers[at + 1] == place) then
      return math.max(tonumber(ms), redis.call('PTTL', KEYS[2]))
    end
  end
  return tonumber(ms)
end
`

/** By the clock of Redis, so that gateways need not agree on the time. */
const NOW = `
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

/**
 * Where a stream goes: where it is, or where the asker would lead it, so that all who ask at once get one answer.
 * ARGV: 1 the asker's choice, or nothing; 2 how long it holds without an answer of the origin, in milliseconds; 3 the place
 * that the asker cannot use, or nothing; 4 `gone` when nobody can, as that origin is no more.
 * Words: `kept`, `new`, `pending` (somebody else's choice, whose origin has not answered), `next` (in the place of one that
 * gives way once an origin accepts), `none`.
 */
export const PICK: RedisScript = {
  name: 'pick',
  lua: `${IS_PUBLISHED}
local place = redis.call('GET', KEYS[1])
if place and place == ARGV[3] and ARGV[4] == 'gone' then
  redis.call('DEL', KEYS[1], KEYS[4])
  for _, users in ipairs({ KEYS[2], KEYS[3] }) do
    local all = redis.call('HGETALL', users)
    for at = 1, #all, 2 do
      if all[at + 1] == place then redis.call('HDEL', users, all[at]) end
    end
  end
  place = false
end
local publishers = redis.call('HGETALL', KEYS[2])
if not place then
  if ARGV[1] == '' then return { '', 'none', publishers } end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return { ARGV[1], 'new', publishers }
end
if place ~= ARGV[3] or ARGV[1] == '' then
  local leftMs = redis.call('PTTL', KEYS[1])
  local isUsed = leftMs == -1 or leftMs > tonumber(ARGV[2]) or isPublished(place, '', true)
    or redis.call('EXISTS', KEYS[3]) == 1
  return { place, isUsed and 'kept' or 'pending', publishers }
end
local waiting = redis.call('GET', KEYS[4])
if waiting and waiting ~= ARGV[3] then return { waiting, 'next', publishers } end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
return { ARGV[1], 'next', publishers }
`,
}

/**
 * A gateway uses the stream at a place, begins to or goes on; an origin that says it has it is a publisher, too (`@` and its
 * id). ARGV: 1 the place; 2 how long that holds, in milliseconds; 3 who; 4 `publish` or `play`; 5 the place that gives way to
 * it, or nothing; 6 `wanted` when an operator wants it there; 7 of an origin's word how long ago it said so, in
 * milliseconds: what it has taken back since is worth nothing.
 * A publisher moves the stream unless another one is live elsewhere, a player only from the place that gives way.
 * Words: `kept`, `moved` (those who play it elsewhere want to hear of it), `elsewhere` (a gateway is no user then), `ended`.
 */
export const USE: RedisScript = {
  name: 'use',
  lua: `${IS_PUBLISHED}${LASTING}${NOW}
local place = redis.call('GET', KEYS[1])
local isOrigin = string.sub(ARGV[3], 1, 1) == '@'
if isOrigin then
  local endedMs = tonumber(redis.call('HGET', KEYS[2], '!' .. ARGV[3]) or 0)
  if endedMs and endedMs > nowMs() - tonumber(ARGV[7]) then
    return { place or '', 'ended', redis.call('HGETALL', KEYS[2]) }
  end
end
if place and place ~= ARGV[1] and ARGV[6] ~= 'wanted' then
  local stays
  if ARGV[4] == 'publish' then stays = isPublished(place, ARGV[3], false)
  else stays = place ~= ARGV[5] or isPublished(place, ARGV[3], true) end
  if stays then
    if not isOrigin then
      redis.call('HDEL', KEYS[2], ARGV[3])
      redis.call('HDEL', KEYS[3], ARGV[3])
    end
    return { place, 'elsewhere', redis.call('HGETALL', KEYS[2]) }
  end
end
-- What a Go proxy wrote has no end: its publisher is not seen from here, so players do not give it one.
local isOfGo = place == ARGV[1] and ARGV[4] == 'play' and redis.call('PTTL', KEYS[1]) == -1
local mine, other, lastsMs = KEYS[3], KEYS[2], ARGV[2]
if ARGV[4] == 'publish' then mine, other = KEYS[2], KEYS[3] end
redis.call('HSET', mine, ARGV[3], ARGV[1])
redis.call('HDEL', other, ARGV[3])
if isOrigin then redis.call('HDEL', KEYS[2], '!' .. ARGV[3]) end
if ARGV[4] == 'publish' then lastsMs = lasting(ARGV[2]) end
redis.call('PEXPIRE', mine, lastsMs)
if not isOfGo then redis.call('SET', KEYS[1], ARGV[1], 'PX', lasting(ARGV[2], ARGV[1])) end
redis.call('DEL', KEYS[4])
local word = 'kept'
if place and place ~= ARGV[1] then word = 'moved' end
if ARGV[4] == 'publish' then
  for _, where in ipairs(redis.call('HVALS', KEYS[3])) do
    if where ~= ARGV[1] then word = 'moved' end
  end
end
return { ARGV[1], word, redis.call('HGETALL', KEYS[2]) }
`,
}

/**
 * A user has gone; the stream stays where it is for a while. When an origin has taken its word back is remembered (`!` before
 * its name), also when Redis did not have that yet: whoever has heard it would say it again. ARGV: 1 who; 2 for how long, in milliseconds.
 * Answers how many uses went.
 */
export const LEAVE: RedisScript = {
  name: 'leave',
  lua: `${LASTING}${NOW}
local gone = redis.call('HDEL', KEYS[2], ARGV[1]) + redis.call('HDEL', KEYS[3], ARGV[1])
if string.sub(ARGV[1], 1, 1) == '@' then
  redis.call('HSET', KEYS[2], '!' .. ARGV[1], string.format('%.0f', nowMs()))
  redis.call('PEXPIRE', KEYS[2], lasting(ARGV[2]))
end
local place = redis.call('GET', KEYS[1])
if place and redis.call('PTTL', KEYS[1]) ~= -1 then redis.call('PEXPIRE', KEYS[1], lasting(ARGV[2], place)) end
return gone
`,
}

/**
 * Takes a choice back that no origin accepted. ARGV: 1 the place; 2 how long a choice holds, in milliseconds: what was kept
 * holds longer.
 */
export const UNPICK: RedisScript = {
  name: 'unpick',
  lua: `${IS_PUBLISHED}
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
local leftMs = redis.call('PTTL', KEYS[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] or leftMs == -1 or leftMs > tonumber(ARGV[2]) then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 or isPublished(ARGV[1], '', true) then return 0 end
return redis.call('DEL', KEYS[1])
`,
}

/**
 * An origin could not be reached: the stream leaves it, and its own word is worth nothing, unless a publisher is live there. ARGV: 1 the place; 2 `silent` when
 * it only does not answer: then its own word counts too; 3 the asker, if it does not publish. Words: `left`, `kept`.
 */
export const FAIL: RedisScript = {
  name: 'fail',
  lua: `${IS_PUBLISHED}
local place = redis.call('GET', KEYS[1])
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
if place == ARGV[1] and not isPublished(place, ARGV[3], ARGV[2] == 'silent') then
  redis.call('DEL', KEYS[1])
  local publishers = redis.call('HGETALL', KEYS[2])
  for at = 1, #publishers, 2 do
    local isWord = string.sub(publishers[at], 1, 1) == '@'
    if isWord and publishers[at + 1] == place then redis.call('HDEL', KEYS[2], publishers[at]) end
  end
  place = false
end
return { place or '', place and 'kept' or 'left', redis.call('HGETALL', KEYS[2]) }
`,
}

/** A stream leaves an origin that is gone, whoever uses it there. ARGV: 1 the place. */
export const DROP: RedisScript = {
  name: 'drop',
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', unpack(KEYS))
`,
}

/** Forgets where a stream is, and who uses it. Answers whether it was somewhere. */
export const CLEAR: RedisScript = {
  name: 'clear',
  lua: `
local was = redis.call('EXISTS', KEYS[1])
redis.call('DEL', unpack(KEYS))
return was
`,
}
