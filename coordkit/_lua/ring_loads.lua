-- ring_loads: how many keys each node has.
--
--   KEYS[1]  ring.loads  hash  node: how many keys it has
--
--   returns {node, load, …}
return redis.call('HGETALL', KEYS[1])
