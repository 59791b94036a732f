-- ARGV: queue, those taken from it and not begun, the one that was just taken from its head
-- Changes it for the one whose turn it is. A call for help stands behind all jobs that wait.
local queue, begun, taken = ARGV[1], ARGV[2], ARGV[3]
local job, number = string.match(taken, '^(%x+)%-(%d+)')
-- What nobody waits for any more is not put back.
if not job or not (redis.call('ZSCORE', WAITING, job) or holds(job, number)) then return taken end
local from = 0
while true do
  local ids = redis.call('ZRANGE', WAITING, from, from + 15)
  if #ids == 0 then return taken end
  for _, id in ipairs(ids) do
    local best = id .. '-' .. (read(id, 'delivery') or '')
    if best == taken then return taken end
    if redis.call('LREM', queue, 1, best) == 1 then
      -- Once, also when the answer was lost on the way and this is asked again.
      if redis.call('LREM', begun, 1, taken) == 1 then redis.call('LPUSH', queue, taken) end
      redis.call('LPUSH', begun, best)
      return best
    end
  end
  from = from + #ids
end
