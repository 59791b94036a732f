-- ARGV: bucket, interval (microseconds from one request to the next at the rate), capacity, wanted
-- The generic cell rate algorithm (ITU-T I.371): all that is kept is when the bucket will be full again.
local key, interval, capacity = key_rate(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = now()
local stored = redis.pcall('GET', key)
local full = math.min(math.max(number(type(stored) == 'string' and stored, 0), t), t + interval * capacity)
local left = math.floor((t + interval * capacity - full) / interval)
local granted = math.max(0, math.min(tonumber(ARGV[4]), left))
if granted > 0 then
  full = full + granted * interval
  redis.call('SET', key, int(full), 'PX', int(math.ceil((full - t) / 1000)))
end
return { granted, math.max(0, left - granted), int(full - t), int(math.max(0, full + interval - t - interval * capacity)) }
