-- ARGV: id, owner who wants it no more ('': nobody does)
local id, owner = ARGV[1], ARGV[2]
local state = read(id, 'state')
if state ~= 'queued' and state ~= 'running' then return { 1, snapshot({ id }) } end
-- A record of an earlier version names the one that it was created for.
if redis.call('EXISTS', key_interest(id)) == 0 then ask(id, read(id, 'owner') or ANONYMOUS) end
if owner ~= '' and not redis.call('HGET', key_interest(id), owner) then return { 0, snapshot({ id }) } end
local left = withdraw(id, owner)
if left then
  if state == 'queued' and read(id, 'owner') == owner then pass_on(id, left) end
elseif state == 'queued' or (state == 'running' and number(read(id, 'lease'), 0) < now()) then
  finish(id, 'canceled')
elseif state == 'running' then
  redis.call('HSET', key_job(id), 'cancel', 1)
end
return { 1, snapshot({ id }) }
