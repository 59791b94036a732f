-- ARGV: id, token, requested schedule ('' while the job goes on), table, model, profile body ('' for none), entry of a new table, its fingerprint ('' x 2: none),
--       samples ('' for none), then for every schedule: id, body, cell ('' for no alias), rank
local id, token, wanted, table_id, model = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local body, entry, fingerprint = ARGV[6], ARGV[7], ARGV[8]
if not holds(id, token) then
  -- The worker asks again when the answer was lost on the way.
  return (read(id, 'state') == 'succeeded' and read(id, 'token') == token) and 1 or 0
end

local there = wanted == '' or redis.call('EXISTS', key_schedule(wanted)) == 1
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

if fingerprint ~= '' then redis.call('HSET', key_job(id), 'fingerprint', fingerprint) end
if wanted ~= '' then
  redis.call('HSET', key_job(id), 'schedule_id', wanted)
  finish(id, 'succeeded')
end
return 1
