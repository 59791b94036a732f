-- ARGV: profile, fingerprint, time to live, then:
local profile, fingerprint, seconds = ARGV[1], ARGV[2], ARGV[3]
local open, held = key_open_shards(profile .. '/' .. fingerprint), key_held_shards(profile .. '/' .. fingerprint)
local function field(shard) return fingerprint .. '/' .. shard end
-- What nobody is measuring is sorted by its first path, what somebody is by the end of the lease, which is far above.
local function free(shard) redis.call('ZADD', open, string.match(shard, '^%d+'), shard) end
local function holder(shard)
  local worker, times = string.match(redis.call('HGET', held, shard) or '', '^(%S*) (%d+)$')
  return worker or '', tonumber(times or '0')
end
local function live() redis.call('EXPIRE', open, seconds) redis.call('EXPIRE', held, seconds) end
