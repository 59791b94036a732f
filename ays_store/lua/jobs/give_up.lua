-- ARGV: id, token, attempts, cause
if not holds(ARGV[1], ARGV[2]) then return 0 end
return bury(ARGV[1], ARGV[3], ARGV[4]) == 'queued' and 1 or 0
