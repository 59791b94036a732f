-- ARGV: id, token, time to live, body
local id = ARGV[1]
if not holds(id, ARGV[2]) then return 0 end
redis.call('SET', key_checkpoint(id), ARGV[4], 'EX', ARGV[3])
return read(id, 'cancel') and 2 or 1
