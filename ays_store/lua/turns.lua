local function flow(owner, priority) return owner .. ' ' .. priority end

local function told(field)
  local raw = redis.pcall('HGET', TURNS, field)
  return number(type(raw) == 'string' and raw, 0)
end

local function clock() return told('now') end

local function turn_of(owner, priority)
  return math.max(clock(), told(flow(owner, priority))) + WEIGHTS[priority]
end

-- Gives a job the turn that a submission has now.
local function take_turn(id, owner, priority)
  local turn = int(turn_of(owner, priority))
  redis.call('HSET', TURNS, flow(owner, priority), turn)
  redis.call('HSET', key_job(id), 'turn', turn)
end

-- Puts a job among those that wait. A record of an earlier version has no turn; it has waited for longest.
local function join(id)
  local h = redis.call('HMGET', key_job(id), 'turn', 'priority', 'owner', 'created')
  local turn, priority, owner = number(h[1], clock()), WEIGHTS[h[2]] and h[2] or INTERACTIVE, h[3] or ANONYMOUS
  redis.call('HSET', key_job(id), 'turn', int(turn), 'priority', priority, 'owner', owner)
  redis.call('ZADD', WAITING, int(turn), id)
  redis.call('ZADD', key_waiting_as(priority), int(number(h[4], now())), id)
  redis.call('ZADD', key_waiting_of(owner), int(turn), id)
end

local function leave(id)
  redis.call('ZREM', WAITING, id)
  for priority in pairs(WEIGHTS) do redis.call('ZREM', key_waiting_as(priority), id) end
  redis.call('ZREM', key_waiting_of(read(id, 'owner') or ANONYMOUS), id)
end

-- Moves the clock of turns on to a job that is served. What the flows have had before is forgotten when nobody waits.
local function serve(id)
  local h = redis.call('HMGET', key_job(id), 'turn', 'priority')
  local time = math.max(clock(), number(h[1], 0) - (WEIGHTS[h[2]] or 0))
  if redis.call('ZCARD', WAITING) == 0 then redis.call('DEL', TURNS) end
  redis.call('HSET', TURNS, 'now', int(time))
end

-- Somebody asks for a job that waits already: it gets the better of its place and the one that this submission would have.
local function hasten(id, owner, priority)
  if priority == INTERACTIVE and read(id, 'priority') ~= INTERACTIVE then
    leave(id)
    redis.call('HSET', key_job(id), 'priority', INTERACTIVE)
    join(id)
  end
  if turn_of(owner, priority) < tonumber(redis.call('ZSCORE', WAITING, id) or '0') then
    take_turn(id, owner, priority)
    join(id)
  end
end

-- A job that waits counts against another owner from now on; it keeps its turn.
local function pass_on(id, owner)
  leave(id)
  redis.call('HSET', key_job(id), 'owner', owner)
  join(id)
end

-- Why the queue takes no more jobs of an owner, or false; with what is needed to say when it will.
local function refusal(owner, most, most_of_owner)
  local waiting, own = redis.call('ZCARD', WAITING), redis.call('ZCARD', key_waiting_of(owner))
  local why = (most_of_owner > 0 and own >= most_of_owner and 'key') or (most > 0 and waiting >= most and 'queue')
  if not why then return false end
  local h = redis.pcall('HMGET', COUNTERS, 'runs', 'run_micros')
  return { why, waiting, own, size('ZCOUNT', WORKERS, int(now() - LIVE), '+inf'), int(number(h[1], 0)), int(number(h[2], 0)) }
end
