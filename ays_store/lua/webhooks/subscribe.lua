-- ARGV: id, url, most URLs of a job, most messages that wait
local id, url = ARGV[1], ARGV[2]
local state = read(id, 'state')
if not state then return 0 end
local known = redis.call('SISMEMBER', key_webhooks(id), url) == 1
if not known and redis.call('ZCARD', DELIVERIES) >= tonumber(ARGV[4]) then return -1 end
if state == 'queued' or state == 'running' then
  if not known and redis.call('SCARD', key_webhooks(id)) >= tonumber(ARGV[3]) then return -1 end
  redis.call('SADD', key_webhooks(id), url)
else
  deliver(id, url)
end
return 1
