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
