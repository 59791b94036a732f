-- ARGV: message, try, outcome
if redis.call('HGET', key_delivery(ARGV[1]), 'tries') ~= ARGV[2] then return 0 end
redis.call('ZREM', DELIVERIES, ARGV[1])
redis.call('DEL', key_delivery(ARGV[1]))
count('webhooks_' .. ARGV[3])
return 1
