-- ARGV: message, try, pause, 1 when it was not tried at all
if redis.call('HGET', key_delivery(ARGV[1]), 'tries') ~= ARGV[2] then return 0 end
redis.call('ZADD', DELIVERIES, int(now() + tonumber(ARGV[3])), ARGV[1])
if ARGV[4] == '1' then
  redis.call('HINCRBY', key_delivery(ARGV[1]), 'tries', -1)
else
  count('webhooks_retried')
end
return 1
