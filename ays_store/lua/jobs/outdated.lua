-- Whether a job has succeeded with other weights than its model has now.
local function outdated(id, state, model)
  local measured, present = read(id, 'fingerprint'), redis.call('HGET', FINGERPRINTS, model)
  return state == 'succeeded' and measured and present and measured ~= present
end
