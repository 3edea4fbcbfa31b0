-- index_list: what a bucket holds at present.
--
--   KEYS[1]  index       zset    what the bucket holds, by lease end, server ms
--
--   returns {member, …}, a member being '<kind>:<name>'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
