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
