"""Messages to those who want to be told of the end of a job, in Lua (after the prelude of `scripts`, whose `finish` makes them)."""

SUBSCRIBE = """
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
"""

CLAIM = """
-- ARGV: how many, lease, tries that a message gets
local out, t = {}, now()
for _, message in ipairs(redis.call('ZRANGEBYSCORE', DELIVERIES, '-inf', int(t), 'LIMIT', 0, ARGV[1])) do
  local h = redis.call('HMGET', key_delivery(message), 'job', 'url', 'record', 'tries')
  if not h[4] then
    redis.call('ZREM', DELIVERIES, message)
  elseif tonumber(h[4]) >= tonumber(ARGV[3]) then
    -- Whoever has tried did not live to say how it went.
    redis.call('ZREM', DELIVERIES, message)
    redis.call('DEL', key_delivery(message))
    count('webhooks_failed')
  else
    redis.call('ZADD', DELIVERIES, int(t + tonumber(ARGV[2])), message)
    out[#out + 1] = { message, h[1], h[2], h[3], redis.call('HINCRBY', key_delivery(message), 'tries', 1) }
  end
end
return out
"""

END = """
-- ARGV: message, try, outcome
if redis.call('HGET', key_delivery(ARGV[1]), 'tries') ~= ARGV[2] then return 0 end
redis.call('ZREM', DELIVERIES, ARGV[1])
redis.call('DEL', key_delivery(ARGV[1]))
count('webhooks_' .. ARGV[3])
return 1
"""

POSTPONE = """
-- ARGV: message, try, pause, 1 when it was not tried at all
if redis.call('HGET', key_delivery(ARGV[1]), 'tries') ~= ARGV[2] then return 0 end
redis.call('ZADD', DELIVERIES, int(now() + tonumber(ARGV[3])), ARGV[1])
if ARGV[4] == '1' then
  redis.call('HINCRBY', key_delivery(ARGV[1]), 'tries', -1)
else
  count('webhooks_retried')
end
return 1
"""
