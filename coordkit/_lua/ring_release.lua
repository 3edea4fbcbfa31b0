-- ring_release: take a key from the node that has it.
--
--   KEYS[1]  ring.assigned  hash    key: the node that has it
--   KEYS[2]  ring.loads     hash    node: how many keys it has
--   KEYS[3]  tomb           string  how this very request ended, if it has
--   ARGV[1]  key
--
--   returns {'released', node}  the same answer when asked again
--           {'free'}            no node had it
local assigned, loads, tomb = KEYS[1], KEYS[2], KEYS[3]
local before = redis.call('GET', tomb)
if before then return {'released', before} end
local node = redis.call('HGET', assigned, ARGV[1])
if not node then return {'free'} end
-- First what runs when memory is full: after it the server lets the rest of the script write.
redis.call('HDEL', assigned, ARGV[1])
if redis.call('HINCRBY', loads, node, -1) <= 0 then redis.call('HDEL', loads, node) end
redis.call('SET', tomb, node, 'PX', 10000)
return {'released', node}
