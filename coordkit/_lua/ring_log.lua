-- ring_log: the changes of a ring after a version, and what it is now.
--
--   KEYS[1]  ring.meta    hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.log     stream  the last changes, each under the version that it made
--   ARGV[1]  version
--
--   returns {'log', meta, changes}  as many as are still known, oldest first
--           {'none'}                there is no such ring
local meta = redis.call('HGETALL', KEYS[1])
if #meta == 0 then return {'none'} end
return {'log', meta, redis.call('XRANGE', KEYS[2], string.format('%.0f', ARGV[1] + 1) .. '-0', '+')}
