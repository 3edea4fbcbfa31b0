-- fence_check: admit a token unless a newer one was seen, and do its write with it.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; value:<field>: what was written
--   ARGV[1]  token
--   ARGV[2]  field               what to write; '' to write nothing
--   ARGV[3]  value
--
--   returns {'admitted', seen} or {'stale', seen}, seen being the highest token from now on
local token = tonumber(ARGV[1])
local seen = redis.call('HGET', KEYS[1], 'seen')
if seen and token < tonumber(seen) then return {'stale', seen} end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'value:' .. ARGV[2], ARGV[3]) end
return {'admitted', ARGV[1]}
