-- ARGV: ids of tables and schedules
for _, name in ipairs(ARGV) do
  if redis.call('EXISTS', key_cells(name), key_schedule(name)) > 0 then use(name) end
end
