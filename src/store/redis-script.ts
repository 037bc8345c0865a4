import { createHash } from 'node:crypto'

/**
 * Changes one record, if its version is what is expected. A Redis runs a script as one step, and all that it
 * touches it is told as KEYS, so that a cluster can tell that it is in one place.
 *
 * KEYS: the records, the index of their keys, their expiries. ARGV: the record's key; `is`, `absent` or `any`, and
 * the version that is meant; the new record or nothing to delete it, and its expiry or `-`; the time.
 */
const source = `
local records, index, expiries = KEYS[1], KEYS[2], KEYS[3]
local key, mode, expected, record, expiresAt, now = unpack(ARGV)

local function forget(gone)
  redis.call('HDEL', records, gone)
  redis.call('ZREM', index, gone)
  redis.call('ZREM', expiries, gone)
end

for _, expired in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 100)) do
  forget(expired)
end
local expiry = redis.call('ZSCORE', expiries, key)
if expiry and tonumber(expiry) <= tonumber(now) then forget(key) end

local held = redis.call('HGET', records, key)
local version = held and string.match(held, '^%S+')
if mode == 'absent' and version then return 0 end
if mode == 'is' and version ~= expected then return 0 end
if mode == 'any' and not version then return 0 end

if record == '' then
  forget(key)
  return 1
end
redis.call('HSET', records, key, record)
redis.call('ZADD', index, 0, key)
if expiresAt == '-' then redis.call('ZREM', expiries, key) else redis.call('ZADD', expiries, expiresAt, key) end
return 1`

export const changeScript = { source, sha1: createHash('sha1').update(source).digest('hex') }
