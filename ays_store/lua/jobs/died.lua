-- ARGV: worker, attempts, cause
local worker, queued = ARGV[1], {}
local known = redis.call('ZREM', WORKERS, worker)
redis.call('DEL', key_worker(worker))
redis.call('SET', key_dead(worker), 1, 'EX', 3600)
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  if read(id, 'state') == 'running' and read(id, 'worker') == worker and bury(id, ARGV[2], ARGV[3]) == 'queued' then
    queued[#queued + 1] = id
  end
end
return { known, queued }
