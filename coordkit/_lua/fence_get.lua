-- fence_get: what was written last through the fence, and the highest token it has seen.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; value:<field>: what was written
--   ARGV[1]  field               '' to ask for the token only
--
--   returns {seen, value}; seen is '0' and value nil where there is none
local value = ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'value:' .. ARGV[1])
return {redis.call('HGET', KEYS[1], 'seen') or '0', value}
