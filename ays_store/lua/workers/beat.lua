-- ARGV: name, info, evaluations
mend(WORKERS, 'zset')
redis.call('ZADD', WORKERS, int(now()), ARGV[1])
redis.call('SET', key_worker(ARGV[1]), ARGV[2], 'PX', int(LIVE / 1000))
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', int(now() - 10 * LIVE))
if tonumber(ARGV[3]) > 0 then count('evaluations', ARGV[3]) end
return 1
