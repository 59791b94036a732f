"""Taking and keeping shards, in Lua (after the prelude of `scripts`)."""

_HEAD = """
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
"""

OFFER = (
    _HEAD
    + """
-- model, what the index held of the profile when the job looked, shards
local finished, missing = {}, {}
for i = 6, #ARGV do
  if redis.call('HEXISTS', key_shards(profile), field(ARGV[i])) == 1 then
    finished[#finished + 1] = ARGV[i]
  elseif not redis.call('ZSCORE', open, ARGV[i]) then
    missing[#missing + 1] = ARGV[i]
  end
end
-- Another job has committed a whole profile since, and its shards are gone.
local entry = #missing > 0 and redis.call('HGET', key_variants(ARGV[4]), profile)
local readable, told = pcall(cjson.decode, entry or '')
local ours = readable and type(told) == 'table' and told.fingerprint == fingerprint
if ours and entry ~= ARGV[5] and redis.call('EXISTS', key_profile(profile)) == 1 then return false end
for _, shard in ipairs(missing) do free(shard) end
live()
return finished
"""
)

TAKE = (
    _HEAD
    + """
-- job, worker, lease, largest number of helpers, shards (none: whatever is wanted)
local job, worker, most = ARGV[4], ARGV[5], tonumber(ARGV[7])
if read(job, 'state') ~= 'running' or read(job, 'cancel') then return false end
local t, own, shards = now(), #ARGV > 7, {}
for i = 8, #ARGV do shards[#shards + 1] = ARGV[i] end
if not own then shards = redis.call('ZRANGEBYSCORE', open, '-inf', int(t)) end
for _, shard in ipairs(shards) do
  local till = redis.call('ZSCORE', open, shard)
  local who, times = holder(shard)
  local over = till and (tonumber(till) <= t or (who ~= '' and redis.call('EXISTS', key_dead(who)) == 1))
  -- The same worker asking again has lost the answer on the way: it measures one shard at a time.
  if till and (who == worker or (over and (own or times < most))) then
    redis.call('HSET', held, shard, worker .. ' ' .. int(who == worker and times or times + 1))
    redis.call('ZADD', open, int(t + tonumber(ARGV[6])), shard)
    live()
    return shard
  end
end
return false
"""
)

RENEW = (
    _HEAD
    + """
-- job, worker, lease, shard
local job, worker, shard = ARGV[4], ARGV[5], ARGV[7]
local state = read(job, 'state')
-- A job whose own worker has died waits in the queue; what is measured for it is not lost.
if holder(shard) ~= worker or (state ~= 'running' and state ~= 'queued') then return 0 end
redis.call('ZADD', open, 'XX', int(now() + tonumber(ARGV[6])), shard)
live()
return read(job, 'cancel') and 2 or 1
"""
)

KEEP = (
    _HEAD
    + """
-- shard, body
local shard = ARGV[4]
if redis.call('ZREM', open, shard) == 0 then return 0 end
redis.call('HDEL', held, shard)
redis.call('HSET', key_shards(profile), field(shard), ARGV[5])
redis.call('EXPIRE', key_shards(profile), seconds)
return 1
"""
)

HAND_BACK = (
    _HEAD
    + """
-- worker, shard, number of helpers to count (0: as many as before this one)
local shard, times = ARGV[5], tonumber(ARGV[6])
local who, before = holder(shard)
if who ~= ARGV[4] or not redis.call('ZSCORE', open, shard) then return 0 end
redis.call('HSET', held, shard, ' ' .. int(times > 0 and times or before - 1))
free(shard)
return 1
"""
)

WITHDRAW = (
    _HEAD
    + """
-- shards
for i = 4, #ARGV do
  if holder(ARGV[i]) == '' then
    redis.call('ZREM', open, ARGV[i])
    redis.call('HDEL', held, ARGV[i])
  end
end
return 1
"""
)
