-- ARGV: id, worker, lease
local id, worker = ARGV[1], ARGV[2]
local state = read(id, 'state')
-- The same worker asking again has lost the answer on the way: it runs one job at a time.
if state == 'running' and read(id, 'worker') == worker then return number(read(id, 'token'), 0) end
if state ~= 'queued' then return false end
redis.call('HDEL', key_job(id), 'missing')
redis.call('HSET', key_job(id), 'tries', int(number(read(id, 'tries'), 0) + 1))
redis.call('HSET', key_job(id), 'worker', worker, 'started', int(now()))
lease(id, ARGV[3])
enter(id, 'running')
serve(id)
local token = add(id, 'token', 1)
announce(id)
return token
