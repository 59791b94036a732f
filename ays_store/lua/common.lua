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
