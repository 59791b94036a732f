-- worker, shard, number of helpers to count (0: as many as before this one)
local shard, times = ARGV[5], tonumber(ARGV[6])
local who, before = holder(shard)
if who ~= ARGV[4] or not redis.call('ZSCORE', open, shard) then return 0 end
redis.call('HSET', held, shard, ' ' .. int(times > 0 and times or before - 1))
free(shard)
return 1
