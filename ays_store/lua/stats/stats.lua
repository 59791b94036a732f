-- ARGV: lost (microseconds that a lease is overdue), stored states
local t = now()
local states = {}
for i = 2, #ARGV do states[#states + 1] = size('ZCARD', key_jobs_in(ARGV[i])) end
local names, busy = live_workers(), 0
for _, name in ipairs(names) do
  local raw = redis.pcall('GET', key_worker(name))
  local readable, told = pcall(cjson.decode, type(raw) == 'string' and raw or '')
  if readable and type(told) == 'table' and type(told.info) == 'table' and type(told.info.job) == 'string' then busy = busy + 1 end
end
local waiting = {}
for priority in pairs(WEIGHTS) do
  local oldest = redis.pcall('ZRANGE', key_waiting_as(priority), 0, 0, 'WITHSCORES')
  local since = oldest[2] and int(math.max(0, t - number(oldest[2], t))) or '0'
  waiting[#waiting + 1] = { priority, size('ZCARD', key_waiting_as(priority)), since }
end
local counters = redis.pcall('HGETALL', COUNTERS)
return {
  states,
  size('ZCOUNT', LEASES, '-inf', '(' .. int(t - tonumber(ARGV[1]))),
  waiting,
  #names,
  busy,
  counters.err and {} or counters,
  size('ZCARD', DELIVERIES),
}
