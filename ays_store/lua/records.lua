-- Creation times are strictly increasing, so that a page of the list can end at any of them.
local function tick()
  local t, last = now(), redis.pcall('GET', CLOCK)
  last = number(type(last) == 'string' and last, 0)
  if t <= last then t = last + 1 end
  redis.call('SET', CLOCK, int(t))
  return t
end

-- Notes that a table or a schedule is in use now.
local function use(name)
  mend(USED, 'zset')
  redis.call('ZADD', USED, int(now() / 1000000), name)
end

-- The owners that have asked for a job.
local function askers(id)
  local found = redis.pcall('HKEYS', key_interest(id))
  return found.err and {} or found
end

-- An owner asks for a job: it is in the owner's list, and goes on for as long as somebody wants it.
local function ask(id, owner)
  mend(key_interest(id), 'hash')
  mend(key_jobs_by(owner), 'zset')
  redis.call('HSET', key_interest(id), owner, 1)
  redis.call('ZADD', key_jobs_by(owner), int(number(read(id, 'created'), 0)), id)
end

-- An owner wants a job no more, or nobody does (owner ''). Returns somebody who still does, or false.
local function withdraw(id, owner)
  local left = false
  for _, other in ipairs(askers(id)) do
    if owner == '' or other == owner then
      redis.call('HSET', key_interest(id), other, 0)
    elseif redis.call('HGET', key_interest(id), other) == '1' then
      left = other
    end
  end
  return left
end

-- Appends the present state of a job to its events.
local function announce(id)
  local h = redis.call('HMGET', key_job(id), 'state', 'progress', 'error', 'schedule_id')
  if redis.call('TYPE', key_events(id)).ok ~= 'stream' then redis.call('DEL', key_events(id)) end
  redis.call('XADD', key_events(id), 'MAXLEN', '~', EVENTS_KEPT, '*',
    'state', h[1] or '', 'progress', h[2] or NOT_BEGUN, 'error', h[3] or '', 'schedule_id', h[4] or '')
  redis.call('EXPIRE', key_events(id), EVENTS_SECONDS)
end

-- Puts a job into a state and into the indexes of that state.
local function enter(id, state)
  local h = redis.call('HMGET', key_job(id), 'model', 'created', 'state')
  local model, created, old = h[1] or '', number(h[2], nil), h[3]
  if not created then
    created = tick()
    redis.call('HSET', key_job(id), 'created', int(created))
  end
  created = int(created)
  if old then
    redis.call('ZREM', key_jobs_in(old), id)
    redis.call('ZREM', key_jobs_of_in(model, old), id)
  end
  redis.call('HSET', key_job(id), 'state', state)
  redis.call('ZADD', JOBS, created, id)
  redis.call('ZADD', key_jobs_of(model), created, id)
  redis.call('ZADD', key_jobs_in(state), created, id)
  redis.call('ZADD', key_jobs_of_in(model, state), created, id)
  if state == 'queued' then join(id) elseif old == 'queued' then leave(id) end
end

-- Queues a job (again): a new delivery, so that what is left of the one before cannot stand in its way.
local function queue_up(id)
  redis.call('HDEL', key_job(id), 'lease', 'worker', 'missing', 'cancel', 'again', 'finished')
  add(id, 'delivery', 1)
  redis.call('HSET', key_job(id), 'progress', NOT_BEGUN)
  redis.call('ZREM', LEASES, id)
  enter(id, 'queued')
  announce(id)
end

local function count(what, amount)
  local done = redis.pcall('HINCRBY', COUNTERS, what, amount or 1)
  if type(done) ~= 'table' then return end
  if string.find(done.err, 'WRONGTYPE') then redis.call('DEL', COUNTERS) end
  if string.find(done.err, 'integer') then redis.call('HDEL', COUNTERS, what) end
  redis.call('HINCRBY', COUNTERS, what, amount or 1)
end

-- Makes the message for one URL that a job has ended. Its id is that of this end and this URL, however often it is made.
local function deliver(id, url)
  local message = 'msg_' .. redis.sha1hex(id .. '\\n' .. (read(id, 'finished') or '') .. '\\n' .. url)
  local record = cjson.encode(redis.call('HGETALL', key_job(id)))
  redis.call('HSET', key_delivery(message), 'job', id, 'url', url, 'record', record, 'tries', 0)
  redis.call('EXPIRE', key_delivery(message), DELIVERY_SECONDS)
  redis.call('ZADD', DELIVERIES, int(now()), message)
end

local function finish(id, state)
  count(state)
  if read(id, 'state') == 'running' then
    count('runs')
    count('run_micros', int(math.max(0, now() - number(read(id, 'started'), now()))))
  end
  redis.call('HDEL', key_job(id), 'lease', 'missing', 'cancel', 'again')
  redis.call('HSET', key_job(id), 'finished', int(now()))
  redis.call('ZREM', LEASES, id)
  redis.call('DEL', key_checkpoint(id))
  enter(id, state)
  announce(id)
  for _, url in ipairs(redis.call('SMEMBERS', key_webhooks(id))) do deliver(id, url) end
  redis.call('DEL', key_webhooks(id))
end

-- Forgets a record that is damaged. Its next attempts and deliveries are numbered from the clock, above all that there were.
local function forget(id)
  redis.call('DEL', key_job(id), key_events(id))
  redis.call('HSET', key_job(id), 'token', int(now()), 'delivery', int(now()))
end

-- Starts the life of a record: everything of an earlier life goes, but the counters that fence it off.
local function reset(id, request, model)
  redis.call('HDEL', key_job(id), 'error', 'schedule_id', 'started', 'finished', 'fingerprint', 'request_id', 'traceparent',
    'turn', 'priority', 'owner')
  local created = int(tick())
  redis.call('HSET', key_job(id), 'request', request, 'model', model, 'tries', 0, 'progress', NOT_BEGUN, 'created', created)
  redis.call('DEL', key_events(id))
  -- Who asked for an earlier life sees this one, and has no say in it.
  withdraw(id, '')
  for _, owner in ipairs(askers(id)) do
    mend(key_jobs_by(owner), 'zset')
    redis.call('ZADD', key_jobs_by(owner), created, id)
  end
end

-- Whether an attempt still owns the job. A worker that was presumed dead finds that it does not.
local function holds(id, token)
  return read(id, 'state') == 'running' and read(id, 'token') == token
end

local function lease(id, micros)
  local till = int(now() + tonumber(micros))
  redis.call('HSET', key_job(id), 'lease', till)
  mend(LEASES, 'zset')
  redis.call('ZADD', LEASES, till, id)
end

local function snapshot(ids)
  local t = now()
  local out = { int(t), size('ZCOUNT', WORKERS, int(t - LIVE), '+inf') }
  for _, id in ipairs(ids) do
    local fields = redis.pcall('HGETALL', key_job(id))
    if fields.err then fields = { 'type', 'another' } end
    table.insert(fields, 1, id)
    out[#out + 1] = fields
  end
  return out
end
