-- ARGV: id, token, state, error ('' for none)
local id = ARGV[1]
if not holds(id, ARGV[2]) then
  return (read(id, 'state') == ARGV[3] and read(id, 'token') == ARGV[2]) and 1 or 0
end
if ARGV[3] == 'canceled' and read(id, 'again') then
  queue_up(id)
  return 1
end
if ARGV[4] ~= '' then redis.call('HSET', key_job(id), 'error', ARGV[4]) end
finish(id, ARGV[3])
return 1
