-- shards
for i = 4, #ARGV do
  if holder(ARGV[i]) == '' then
    redis.call('ZREM', open, ARGV[i])
    redis.call('HDEL', held, ARGV[i])
  end
end
return 1
