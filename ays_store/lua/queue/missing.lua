-- ARGV: queue, grace
-- Jobs that we hold for queued but that have been in no queue for longer than the grace get a new delivery. Looked for among
-- the next only: a lost one comes to the head in its turn.
local t, again = now(), {}
-- Beside services and workers of a version that knows no turns, jobs come and go without them.
for _, id in ipairs(redis.call('ZRANGE', WAITING, 0, 99)) do
  if read(id, 'state') ~= 'queued' then leave(id) end
end
if redis.call('ZCARD', key_jobs_in('queued')) > redis.call('ZCARD', WAITING) then
  for _, id in ipairs(redis.call('ZRANGE', key_jobs_in('queued'), 0, -1)) do
    if read(id, 'state') ~= 'queued' then
      -- Its record is lost, or of another type.
      redis.call('ZREM', key_jobs_in('queued'), id)
    elseif not redis.call('ZSCORE', WAITING, id) then
      join(id)
    end
  end
end
for _, id in ipairs(redis.call('ZRANGE', WAITING, 0, 99)) do
  local h = { read(id, 'delivery') or '0', read(id, 'missing') }
  if redis.call('LPOS', ARGV[1], id .. '-' .. h[1]) then
    redis.call('HDEL', key_job(id), 'missing')
  elseif not h[2] then
    redis.call('HSET', key_job(id), 'missing', int(t))
  elseif number(h[2], 0) < t - tonumber(ARGV[2]) then
    redis.call('HDEL', key_job(id), 'missing')
    add(id, 'delivery', 1)
    again[#again + 1] = id
    again[#again + 1] = id .. '-' .. h[1]
  end
end
return again
