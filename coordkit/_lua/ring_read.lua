-- ring_read: a ring as it is stored, unless the reader has this version of it.
--
--   KEYS[1]  ring.meta    hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.nodes   hash    node: weight, zone, capacity, state and meta, one a line
--   KEYS[3]  ring.packed  string  the owner of every slot, with a CRC
--   ARGV[1]  seen                 the birth and the version that the reader has; '' if none
--   ARGV[2]  whole                0: what it is, without nodes and slots
--
--   returns {'same'}                       it is at that version
--           {'ring', meta, nodes, packed}  hashes as lists of fields and values
--           {'none'}                       there is no such ring
local meta = redis.call('HGETALL', KEYS[1])
if #meta == 0 then return {'none'} end
local held = redis.call('HMGET', KEYS[1], 'birth', 'version')
if (held[1] or '') .. ' ' .. (held[2] or '') == ARGV[1] then return {'same'} end
if ARGV[2] == '0' then return {'ring', meta} end
return {'ring', meta, redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[3])}
