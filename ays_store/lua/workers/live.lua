local t, out = now(), {}
for _, name in ipairs(live_workers()) do
  local told = redis.pcall('GET', key_worker(name))
  out[#out + 1] = { name, type(told) == 'string' and told or '{}', int(math.max(0, t - number(redis.call('ZSCORE', WORKERS, name), t))) }
end
return out
