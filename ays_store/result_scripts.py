"""The one transaction that ends a successful job, in Lua (after the prelude of `scripts`)."""

_READING = """
-- What is damaged is as good as none: it is written anew.
local function entry_of(raw)
  local readable, found = pcall(cjson.decode, raw)
  return readable and type(found) == 'table' and found or nil
end
local function weights(raw)
  local found = entry_of(raw)
  return found and type(found.fingerprint) == 'string' and found.fingerprint or nil
end
local function schedule_in(cell) return string.match(cell, '^%x*') end

-- Schedules of other weights answer nobody who asks for these; they are served by their ids.
local function clear(table_id)
  for _, cell in ipairs(redis.call('HVALS', key_cells(table_id))) do redis.call('SADD', key_unlisted(table_id), schedule_in(cell)) end
  redis.call('DEL', key_cells(table_id))
end
local function rank_in(cell) return number(string.match(cell, ' (%d+)$'), -1) end
"""

COMMIT = (
    _READING
    + """
-- ARGV: id, token, requested schedule, table, model, profile body ('' for none), entry of a new table, its fingerprint ('' x 2: none),
--       samples ('' for none), then for every schedule: id, body, cell ('' for no alias), rank
local id, token, wanted, table_id, model = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local body, entry, fingerprint = ARGV[6], ARGV[7], ARGV[8]
if not holds(id, token) then
  -- The worker asks again when the answer was lost on the way.
  return (read(id, 'state') == 'succeeded' and read(id, 'token') == token) and 1 or 0
end

local there = redis.call('EXISTS', key_schedule(wanted)) == 1
for i = 10, #ARGV, 4 do there = there or ARGV[i] == wanted end
if not there then
  return redis.error_reply('received the requested schedule ' .. wanted .. ', expected one that is given or stored')
end

mend(key_variants(model), 'hash')
mend(key_cells(table_id), 'hash')
mend(key_unlisted(table_id), 'set')
local old = redis.call('HGET', key_variants(model), table_id)
if body ~= '' then
  redis.call('SET', key_profile(table_id), body)
  -- Jobs that wait for some of them find the profile instead.
  local measurement = table_id .. '/' .. fingerprint
  redis.call('DEL', key_shards(table_id), key_open_shards(measurement), key_held_shards(measurement))
end
if entry ~= '' then
  if old and weights(old) ~= fingerprint then clear(table_id) end
  redis.call('HSET', key_variants(model), table_id, entry)
elseif old then
  fingerprint = weights(old) or ''
end

if ARGV[9] ~= '' then redis.call('SET', key_samples(wanted), ARGV[9]) end
for i = 10, #ARGV, 4 do
  local schedule, cell, rank = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  redis.call('SET', key_schedule(schedule), ARGV[i + 1])
  if cell ~= '' then
    local present = redis.call('HGET', key_cells(table_id), cell)
    if not present or tonumber(rank) >= rank_in(present) then
      if present and schedule_in(present) ~= schedule then redis.call('SADD', key_unlisted(table_id), schedule_in(present)) end
      redis.call('HSET', key_cells(table_id), cell, schedule .. ' ' .. rank)
    else
      redis.call('SADD', key_unlisted(table_id), schedule)
    end
  else
    redis.call('SADD', key_unlisted(table_id), schedule)
  end
end
use(table_id)

redis.call('HSET', key_job(id), 'schedule_id', wanted)
if fingerprint ~= '' then redis.call('HSET', key_job(id), 'fingerprint', fingerprint) end
finish(id, 'succeeded')
return 1
"""
)

IMPORT = (
    _READING
    + """
-- ARGV: table ('' for schedules that are in none), model, profile body ('' for none), entry, fingerprint, creation time,
--       then for every schedule: id, body, cell ('' for no alias), rank, samples ('' for none)
local table_id, model, body, entry, fingerprint, created = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local kept, stale, newer, moved, added = 0, 0, false, 0, 0
if table_id ~= '' then
  mend(key_variants(model), 'hash')
  mend(key_cells(table_id), 'hash')
  mend(key_unlisted(table_id), 'set')
  use(table_id)
  local present = redis.call('HGET', FINGERPRINTS, model)
  local raw = redis.call('HGET', key_variants(model), table_id)
  local old = raw and entry_of(raw)
  if present and present ~= fingerprint then stale = 1 end
  newer = not old or created > number(old.created_at, 0)
  if old and old.fingerprint ~= fingerprint then
    if present == old.fingerprint or (present ~= fingerprint and not newer) then
      kept = 1
    else
      clear(table_id)
      newer = true
    end
  end
  if kept == 0 and newer then
    if body ~= '' then
      redis.call('SET', key_profile(table_id), body)
      redis.call('DEL', key_shards(table_id))
    end
    redis.call('HSET', key_variants(model), table_id, entry)
  end
end
for i = 7, #ARGV, 5 do
  local id, cell, rank = ARGV[i], ARGV[i + 2], tonumber(ARGV[i + 3])
  added = added + redis.call('SETNX', key_schedule(id), ARGV[i + 1])
  if ARGV[i + 4] ~= '' then redis.call('SETNX', key_samples(id), ARGV[i + 4]) end
  if cell ~= '' and kept == 0 then
    local held = redis.call('HGET', key_cells(table_id), cell)
    local held_rank = held and rank_in(held)
    local names_it = held and string.sub(held, 1, #id) == id
    if not held or rank > held_rank or (newer and rank == held_rank and not names_it) then
      if held and not names_it then redis.call('SADD', key_unlisted(table_id), schedule_in(held)) end
      redis.call('HSET', key_cells(table_id), cell, id .. ' ' .. rank)
      moved = moved + 1
    elseif not names_it then
      redis.call('SADD', key_unlisted(table_id), id)
    end
  elseif table_id ~= '' then
    redis.call('SADD', key_unlisted(table_id), id)
  end
end
return { kept, moved, added, stale }
"""
)
