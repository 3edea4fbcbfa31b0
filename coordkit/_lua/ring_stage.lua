-- ring_stage: lay points ready for a change that brings many.
--
--   KEYS[1]  ring.staged  zset  '<last slot of an arc>:<node>' by that slot
--   and as arguments: scores and points
--
--   returns {'staged', number}  how many are laid ready by now
local unpack = table.unpack or unpack
redis.call('ZADD', KEYS[1], unpack(ARGV))
redis.call('PEXPIRE', KEYS[1], 60000)
return {'staged', redis.call('ZCARD', KEYS[1])}
