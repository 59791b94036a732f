-- model, what the index held of the profile when the job looked, shards
local finished, missing = {}, {}
for i = 6, #ARGV do
  if redis.call('HEXISTS', key_shards(profile), field(ARGV[i])) == 1 then
    finished[#finished + 1] = ARGV[i]
  elseif not redis.call('ZSCORE', open, ARGV[i]) then
    missing[#missing + 1] = ARGV[i]
  end
end
-- Another job has committed a whole profile since, and its shards are gone.
local entry = #missing > 0 and redis.call('HGET', key_variants(ARGV[4]), profile)
local readable, told = pcall(cjson.decode, entry or '')
local ours = readable and type(told) == 'table' and told.fingerprint == fingerprint
if ours and entry ~= ARGV[5] and redis.call('EXISTS', key_profile(profile)) == 1 then return false end
for _, shard in ipairs(missing) do free(shard) end
live()
return finished
