-- ARGV: id, body, fingerprint ('' while unknown)
local id, body, fingerprint = ARGV[1], ARGV[2], ARGV[3]
mend_models()
if redis.call('HEXISTS', MODEL_SOURCES, id) == 0 then return 0 end
redis.call('HSET', MODELS, id, body)
redis.call('ZADD', MODEL_INDEX, 0, id)
if fingerprint ~= '' then redis.call('HSET', FINGERPRINTS, id, fingerprint) end
return 1
