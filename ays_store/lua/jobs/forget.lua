-- ARGV: age
local dropped = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', JOBS, '-inf', int(now() - tonumber(ARGV[1])), 'LIMIT', 0, 200)) do
  local state, model = read(id, 'state'), read(id, 'model') or ''
  if state ~= 'queued' and state ~= 'running' then
    redis.call('ZREM', JOBS, id)
    if state then
      redis.call('ZREM', key_jobs_in(state), id)
      redis.call('ZREM', key_jobs_of(model), id)
      redis.call('ZREM', key_jobs_of_in(model, state), id)
    end
    for _, owner in ipairs(askers(id)) do redis.call('ZREM', key_jobs_by(owner), id) end
    redis.call('DEL', key_job(id), key_events(id), key_interest(id))
    dropped = dropped + 1
  end
end
return dropped
