import type { RedisScript } from '../../redis/index.ts'

/**
 * Adds members to a JSON array of texts and takes others out, atomically; what stands there and is no array gives way.
 * ARGV: 1 how many are added, then those, then those that go.
 */
export const CHANGE_LIST: RedisScript = {
  name: 'change-list',
  lua: `
local text = redis.call('GET', KEYS[1]) or '[]'
local added = tonumber(ARGV[1])
-- Thousands of members take milliseconds to be read; one that is there already is seen without that.
if added == 1 and #ARGV == 2 and string.find(text, cjson.encode(ARGV[2]), 1, true) then return 0 end
local ok, list = pcall(cjson.decode, text)
if not ok or type(list) ~= 'table' then list = {} end
local isThere, goes, left = {}, {}, {}
for at = added + 2, #ARGV do goes[ARGV[at]] = true end
for _, member in ipairs(list) do
  if type(member) == 'string' and not goes[member] and not isThere[member] then
    isThere[member] = true
    left[#left + 1] = cjson.encode(member)
  end
end
for at = 2, added + 1 do
  if not isThere[ARGV[at]] then
    isThere[ARGV[at]] = true
    left[#left + 1] = cjson.encode(ARGV[at])
  end
end
redis.call('SET', KEYS[1], '[' .. table.concat(left, ',') .. ']')
return 1
`,
}
