-- ARGV: attempts
local queued, ended = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now()), 'LIMIT', 0, 100)) do
  if read(id, 'state') ~= 'running' then
    redis.call('ZREM', LEASES, id)
  else
    local cause = 'the worker ' .. (read(id, 'worker') or '?') .. ' fell silent: it was killed, or it lost Redis; its log says more'
    local to = bury(id, ARGV[1], cause) == 'queued' and queued or ended
    to[#to + 1] = id
  end
end
return { queued, ended }
