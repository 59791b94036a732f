-- ARGV: id, request, model, schedule, what else starts it over (see `jobs`), owner
local id, request, model, schedule = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local state = read(id, 'state')
if ARGV[5] == 'anew' then
  forget(id)
  state = false
end
if state ~= 'running' and (state ~= 'succeeded' or outdated(id, state, model)) then
  if state ~= 'queued' then reset(id, request, model) end
  redis.call('HSET', key_job(id), 'schedule_id', schedule)
  local present = redis.call('HGET', FINGERPRINTS, model)
  if present then redis.call('HSET', key_job(id), 'fingerprint', present) end
  finish(id, 'succeeded')
end
ask(id, ARGV[6])
return snapshot({ id })
