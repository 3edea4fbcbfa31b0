-- fence_check: admit a token unless a newer one was seen.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; last: the last entry of the journal
--   ARGV[1]  token
--
--   returns {'admitted', seen} or {'stale', seen}, seen being the highest token from now on
local seen = redis.call('HGET', KEYS[1], 'seen')
if seen and tonumber(ARGV[1]) < tonumber(seen) then return {'stale', seen} end
if seen ~= ARGV[1] then redis.call('HSET', KEYS[1], 'seen', ARGV[1]) end
return {'admitted', ARGV[1]}
