-- ARGV: id of the model before ('' for the first), limit
if size('ZCARD', MODEL_INDEX) ~= redis.call('HLEN', MODELS) then
  -- Written by a version that had no index, or by hand.
  redis.call('DEL', MODEL_INDEX)
  for _, id in ipairs(redis.call('HKEYS', MODELS)) do redis.call('ZADD', MODEL_INDEX, 0, id) end
end
return redis.call('ZRANGEBYLEX', MODEL_INDEX, ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
