-- ring_delete: take a ring away, with all that is assigned.
--
--   KEYS[1]  ring.meta      hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.nodes     hash    node: weight, zone, capacity, state and meta, one a line
--   KEYS[3]  ring.points    zset    '<last slot of an arc>:<node>' by that slot
--   KEYS[4]  ring.packed    string  the owner of every slot, with a CRC
--   KEYS[5]  ring.log       stream  the last changes, each under the version that it made
--   KEYS[6]  ring.assigned  hash    key: the node that has it
--   KEYS[7]  ring.loads     hash    node: how many keys it has
--   KEYS[8]  lasting        zset    what the bucket holds that does not expire
--   KEYS[9]  tomb           string  how this very request ended, if it has
--   KEYS[10] ring.live.alive  zset  live nodes' rids by liveness deadline, server ms
--   KEYS[11] fence          string  last token handed out in the bucket
--   ARGV[1]  channel
--   ARGV[2]  member                 our name in the lasting index
--
--   returns {'deleted'}  the same answer when asked again
--           {'none'}     there is no such ring
--           {'alive', n}  so many nodes of it live
--   publishes 0
if redis.call('EXISTS', KEYS[9]) == 1 then return {'deleted'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local living = redis.call('ZCOUNT', KEYS[10], '(' .. now, '+inf')
if living > 0 then return {'alive', living} end
redis.call('ZREM', KEYS[8], ARGV[2])
if redis.call('HLEN', KEYS[1]) == 0 then return {'none'} end
-- What is made anew counts on from here, though the clock be set back.
local held = redis.call('HMGET', KEYS[1], 'floor', 'version')
local last = redis.call('GET', KEYS[11])
local highest = string.format('%.0f', math.max((held[1] or 0) + (held[2] or 0), last or 0))
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('SET', KEYS[11], highest, 'PX', 86400000)
redis.call('SET', KEYS[9], 1, 'PX', 10000)
redis.call('PUBLISH', ARGV[1], '0')
return {'deleted'}
