-- ring_points: the arcs of a ring that end in a range of slots.
--
--   KEYS[1]  ring.meta    hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.points  zset    '<last slot of an arc>:<node>' by that slot
--   ARGV[1]  first
--   ARGV[2]  last
--
--   returns {'points', birth, version, points}  each point with its score after it; birth and
--           version are '' where there are none
local held = redis.call('HMGET', KEYS[1], 'birth', 'version')
local found = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
return {'points', held[1] or '', held[2] or '', found}
