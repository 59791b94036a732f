-- ARGV: table, model, seconds without a use ('': whenever it was used). Returns how many schedules went with it; -1: it stays.
local table_id, model = ARGV[1], ARGV[2]
local t = math.floor(now() / 1000000)
local schedules, listed = {}, redis.pcall('HVALS', key_cells(table_id))
for _, cell in ipairs(listed.err and {} or listed) do schedules[string.match(cell, '^%x*')] = true end
local unlisted = redis.pcall('SMEMBERS', key_unlisted(table_id))
for _, id in ipairs(unlisted.err and {} or unlisted) do schedules[id] = true end

if ARGV[3] ~= '' then
  mend(USED, 'zset')
  local last = tonumber(redis.call('ZSCORE', USED, table_id) or '')
  if not last then
    use(table_id)
    return -1
  end
  for id in pairs(schedules) do last = math.max(last, tonumber(redis.call('ZSCORE', USED, id) or '0')) end
  if last > t - tonumber(ARGV[3]) then return -1 end
end

local dropped = 0
for id in pairs(schedules) do
  dropped = dropped + redis.call('DEL', key_schedule(id))
  redis.call('DEL', key_samples(id))
  redis.call('ZREM', USED, id)
end
mend(key_variants(model), 'hash')
redis.call('HDEL', key_variants(model), table_id)
redis.call('DEL', key_cells(table_id), key_unlisted(table_id))
if not string.find(table_id, ':', 1, true) then redis.call('DEL', key_profile(table_id), key_shards(table_id)) end
redis.call('ZREM', USED, table_id)
return dropped
