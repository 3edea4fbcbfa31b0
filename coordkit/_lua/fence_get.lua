-- fence_get: what was written last through the fence, and the highest token it has seen.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; last: the last entry of the journal
--   KEYS[2]  value       string  what was written to one field
--
--   returns {seen, last, value}; seen and last are '0', and value nil, where there is none
local held = redis.call('HMGET', KEYS[1], 'seen', 'last')
return {held[1] or '0', held[2] or '0', redis.call('GET', KEYS[2])}
