-- ARGV: source, then for every model: id, body, fingerprint ('' while unknown)
local source, offered = ARGV[1], {}
mend_models()
for i = 2, #ARGV, 3 do
  local id, body, fingerprint = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  offered[id] = true
  redis.call('HSET', MODELS, id, body)
  redis.call('ZADD', MODEL_INDEX, 0, id)
  redis.call('HSET', MODEL_SOURCES, id, source)
  if fingerprint ~= '' then redis.call('HSET', FINGERPRINTS, id, fingerprint) end
end
local owners = redis.call('HGETALL', MODEL_SOURCES)
for i = 1, #owners, 2 do
  local id, owner = owners[i], owners[i + 1]
  if owner == source and not offered[id] then
    redis.call('HDEL', MODELS, id)
    redis.call('ZREM', MODEL_INDEX, id)
    redis.call('HDEL', MODEL_SOURCES, id)
    redis.call('HDEL', FINGERPRINTS, id)
  end
end
return #ARGV
