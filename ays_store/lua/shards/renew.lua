-- job, worker, lease, shard
local job, worker, shard = ARGV[4], ARGV[5], ARGV[7]
local state = read(job, 'state')
-- A job whose own worker has died waits in the queue; what is measured for it is not lost.
if holder(shard) ~= worker or (state ~= 'running' and state ~= 'queued') then return 0 end
redis.call('ZADD', open, 'XX', int(now() + tonumber(ARGV[6])), shard)
live()
return read(job, 'cancel') and 2 or 1
