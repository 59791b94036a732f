-- ARGV: name, evaluations
redis.call('ZREM', WORKERS, ARGV[1])
redis.call('DEL', key_worker(ARGV[1]))
if tonumber(ARGV[2]) > 0 then count('evaluations', ARGV[2]) end
return 1
