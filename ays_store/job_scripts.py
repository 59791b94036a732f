"""The arrows of the job's state machine, in Lua (after the prelude of `scripts`)."""

READ = "return snapshot(ARGV)"

PAGE = """
-- ARGV: index, position (creation time of the job before the page; '' for the newest), limit
local from = ARGV[2] == '' and '+inf' or '(' .. ARGV[2]
local ids = redis.call('ZREVRANGEBYSCORE', ARGV[1], from, '-inf', 'LIMIT', 0, ARGV[3])
local position = ''
if #ids == tonumber(ARGV[3]) then position = redis.call('ZSCORE', ARGV[1], ids[#ids]) end
local out = snapshot(ids)
table.insert(out, 1, position)
return out
"""

_OUTDATED = """
-- Whether a job has succeeded with other weights than its model has now.
local function outdated(id, state, model)
  local measured, present = read(id, 'fingerprint'), redis.call('HGET', FINGERPRINTS, model)
  return state == 'succeeded' and measured and present and measured ~= present
end
"""

SUBMIT = (
    _OUTDATED
    + """
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
"""
)

ANSWER = (
    _OUTDATED
    + """
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
"""
)

START = """
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
"""

REPORT = """
-- ARGV: id, token, lease, progress ('' only renews)
local id, progress = ARGV[1], ARGV[4]
if not holds(id, ARGV[2]) then return 0 end
lease(id, ARGV[3])
if progress ~= '' then
  redis.call('HSET', key_job(id), 'progress', progress)
  announce(id)
end
return read(id, 'cancel') and 2 or 1
"""

END = """
-- ARGV: id, token, state, error ('' for none)
local id = ARGV[1]
if not holds(id, ARGV[2]) then
  return (read(id, 'state') == ARGV[3] and read(id, 'token') == ARGV[2]) and 1 or 0
end
if ARGV[3] == 'canceled' and read(id, 'again') then
  queue_up(id)
  return 1
end
if ARGV[4] ~= '' then redis.call('HSET', key_job(id), 'error', ARGV[4]) end
finish(id, ARGV[3])
return 1
"""

RELEASE = """
-- ARGV: id, token
local id = ARGV[1]
if not holds(id, ARGV[2]) then return 0 end
if read(id, 'cancel') then
  finish(id, 'canceled')
  return 0
end
redis.call('HSET', key_job(id), 'tries', int(math.max(0, number(read(id, 'tries'), 0) - 1)))
queue_up(id)
return 1
"""

CANCEL = """
-- ARGV: id, owner who wants it no more ('': nobody does)
local id, owner = ARGV[1], ARGV[2]
local state = read(id, 'state')
if state ~= 'queued' and state ~= 'running' then return { 1, snapshot({ id }) } end
-- A record of an earlier version names the one that it was created for.
if redis.call('EXISTS', key_interest(id)) == 0 then ask(id, read(id, 'owner') or ANONYMOUS) end
if owner ~= '' and not redis.call('HGET', key_interest(id), owner) then return { 0, snapshot({ id }) } end
local left = withdraw(id, owner)
if left then
  if state == 'queued' and read(id, 'owner') == owner then pass_on(id, left) end
elseif state == 'queued' or (state == 'running' and number(read(id, 'lease'), 0) < now()) then
  finish(id, 'canceled')
elseif state == 'running' then
  redis.call('HSET', key_job(id), 'cancel', 1)
end
return { 1, snapshot({ id }) }
"""

_BURY = """
-- Ends an attempt that ended without an end of its job: queued again, or failed after the last attempt. Returns the state.
local function bury(id, attempts, cause)
  local tries = number(read(id, 'tries'), 0)
  count('reaped')
  if read(id, 'cancel') then
    finish(id, 'canceled')
  elseif tries >= tonumber(attempts) then
    redis.call('HSET', key_job(id), 'error', 'The worker died in each of ' .. int(tries) .. ' attempts. The last time ' .. cause
      .. '. Submit the job again when that is put right.')
    finish(id, 'failed')
  else
    queue_up(id)
  end
  return read(id, 'state')
end
"""

REAP = (
    _BURY
    + """
-- ARGV: attempts
local queued, ended = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now()), 'LIMIT', 0, 100)) do
  if read(id, 'state') ~= 'running' then
    redis.call('ZREM', LEASES, id)
  else
    local cause = 'the worker ' .. (read(id, 'worker') or '?') .. ' fell silent: it was killed, or it lost Redis; its log says more'
    local to = bury(id, ARGV[1], cause) == 'queued' and queued or ended
    to[#to + 1] = id
  end
end
return { queued, ended }
"""
)

GIVE_UP = (
    _BURY
    + """
-- ARGV: id, token, attempts, cause
if not holds(ARGV[1], ARGV[2]) then return 0 end
return bury(ARGV[1], ARGV[3], ARGV[4]) == 'queued' and 1 or 0
"""
)

DIED = (
    _BURY
    + """
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
"""
)

FORGET = """
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
"""
