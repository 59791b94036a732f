-- ARGV: id, request, model, request id, traceparent, owner, priority, most that may wait, most of the owner (0 x 2: any number),
--       what else starts it over (see `jobs`), loss curve that it is asked for ('' for none), seconds that it is kept
local id, request, model, owner, priority = ARGV[1], ARGV[2], ARGV[3], ARGV[6], ARGV[7]
local state = read(id, 'state')
if ARGV[10] == 'anew' then
  forget(id)
  state = false
end
local fresh = not state or state == 'failed' or state == 'canceled' or outdated(id, state, model)
  or (ARGV[10] == 'again' and state == 'succeeded')
if fresh then
  local refused = refusal(owner, tonumber(ARGV[8]), tonumber(ARGV[9]))
  if refused then
    count('refused_' .. refused[1])
    return refused
  end
  reset(id, request, model)
  redis.call('HSET', key_job(id), 'request_id', ARGV[4], 'traceparent', ARGV[5], 'owner', owner, 'priority', priority)
  take_turn(id, owner, priority)
  queue_up(id)
  count('submitted')
elseif state == 'queued' then
  hasten(id, owner, priority)
elseif state == 'running' and read(id, 'cancel') then
  -- Its worker may have been told to stop already: then it is queued again.
  redis.call('HDEL', key_job(id), 'cancel')
  redis.call('HSET', key_job(id), 'again', 1)
end
if ARGV[11] ~= '' then redis.call('SET', key_curve(model), ARGV[11], 'EX', ARGV[12]) end
ask(id, owner)
return { fresh and 1 or 0, snapshot({ id }) }
