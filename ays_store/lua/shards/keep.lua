-- shard, body
local shard = ARGV[4]
if redis.call('ZREM', open, shard) == 0 then return 0 end
redis.call('HDEL', held, shard)
redis.call('HSET', key_shards(profile), field(shard), ARGV[5])
redis.call('EXPIRE', key_shards(profile), seconds)
return 1
