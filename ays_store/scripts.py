"""Lua scripts: where several keys change together, or a change depends on what is there.

All times are microseconds of Redis' own clock, so the clocks of hosts do not matter.
"""

import hashlib
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from ays_store import keys, turns
from ays_store.damage import of_script
from ays_store.limits import DELIVERY_SECONDS, EVENTS_KEPT, EVENTS_SECONDS, LIVE_SECONDS

PRELUDE = (
    keys.LUA
    + f"""
local LIVE, EVENTS_KEPT, EVENTS_SECONDS = {LIVE_SECONDS * 1_000_000:.0f}, {EVENTS_KEPT}, {EVENTS_SECONDS}
local DELIVERY_SECONDS = {DELIVERY_SECONDS}
"""
    + """
local NOT_BEGUN = '{"stage":"waiting"}'

local function int(x) return string.format('%.0f', x) end

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- What is damaged must not stop what has nothing to do with it. So a record of another type reads as if it were not there, and what is no
-- number, or none of ours, reads as another one.
local function read(id, field)
  local found = redis.pcall('HGET', key_job(id), field)
  return type(found) ~= 'table' and found
end

local function number(raw, otherwise)
  local n = tonumber(raw or '')
  return n and n >= 0 and n <= 9007199254740991 and n or otherwise
end

local function size(command, ...)
  local found = redis.pcall(command, ...)
  return type(found) == 'number' and found or 0
end

local function live_workers()
  local names = redis.pcall('ZRANGEBYSCORE', WORKERS, int(now() - LIVE), '+inf')
  return names.err and {} or names
end

-- Drops a key of another type, where what it should hold is told anew anyway.
local function mend(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end

-- Adds to a number of a record. One that is damaged goes on from the clock, above all that it was before: it fences attempts off.
local function add(id, field, amount)
  local raw = read(id, field)
  local n = (raw and number(raw, now()) or 0) + amount
  redis.call('HSET', key_job(id), field, int(n))
  return n
end

"""
    + turns.LUA
    + """
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
"""
)


class Script:
    """A Lua script, callable with its arguments; sent once per server, then by its hash."""

    def __init__(self, redis: Redis, body: str) -> None:
        self._redis: Any = redis
        self._text = PRELUDE + body
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, *args: str | bytes | int | float) -> Any:
        """Runs the script atomically.

        Args:
            *args: What the script reads as ARGV.

        Raises:
            DamagedError: A value that it needs is damaged.
        """
        try:
            try:
                return self._redis.evalsha(self._hash, 0, *args)
            except NoScriptError:
                # In one command, which is repeated whole when Redis is restarted again meanwhile.
                return self._redis.eval(self._text, 0, *args)
        except ResponseError as error:
            damage = of_script(error, self._redis, args)
            if damage is None:
                raise
            raise damage from error
