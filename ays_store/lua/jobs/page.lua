-- ARGV: index, position (creation time of the job before the page; '' for the newest), limit
local from = ARGV[2] == '' and '+inf' or '(' .. ARGV[2]
local ids = redis.call('ZREVRANGEBYSCORE', ARGV[1], from, '-inf', 'LIMIT', 0, ARGV[3])
local position = ''
if #ids == tonumber(ARGV[3]) then position = redis.call('ZSCORE', ARGV[1], ids[#ids]) end
local out = snapshot(ids)
table.insert(out, 1, position)
return out
