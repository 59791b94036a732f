-- ARGV: id, token
local id = ARGV[1]
if not holds(id, ARGV[2]) then return 0 end
if read(id, 'cancel') then
  finish(id, 'canceled')
  return 0
end
redis.call('HSET', key_job(id), 'tries', int(math.max(0, number(read(id, 'tries'), 0) - 1)))
queue_up(id)
return 1
