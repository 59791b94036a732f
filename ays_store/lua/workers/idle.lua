-- ARGV: worker, job
local idle = -size('ZCARD', key_jobs_in('queued'))
for _, name in ipairs(live_workers()) do
  local raw = redis.pcall('GET', key_worker(name))
  local readable, told = pcall(cjson.decode, type(raw) == 'string' and raw or '')
  local job = readable and type(told) == 'table' and type(told.info) == 'table' and told.info.job
  if name ~= ARGV[1] and (type(job) ~= 'string' or job == ARGV[2]) then idle = idle + 1 end
end
return idle
