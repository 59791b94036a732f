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
