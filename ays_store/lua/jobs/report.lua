-- ARGV: id, token, lease, progress ('' only renews)
local id, progress = ARGV[1], ARGV[4]
if not holds(id, ARGV[2]) then return 0 end
lease(id, ARGV[3])
if progress ~= '' then
  redis.call('HSET', key_job(id), 'progress', progress)
  announce(id)
end
return read(id, 'cancel') and 2 or 1
