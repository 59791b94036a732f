-- Ends an attempt that ended without an end of its job: queued again, or failed after the last attempt. Returns the state.
local function bury(id, attempts, cause)
  local tries = number(read(id, 'tries'), 0)
  count('reaped')
  if read(id, 'cancel') then
    finish(id, 'canceled')
  elseif tries >= tonumber(attempts) then
    redis.call('HSET', key_job(id), 'error', 'The worker died in each of ' .. int(tries) .. ' attempts. The last time ' .. cause
      .. '. Submit the job again when that is put right.')
    finish(id, 'failed')
  else
    queue_up(id)
  end
  return read(id, 'state')
end
