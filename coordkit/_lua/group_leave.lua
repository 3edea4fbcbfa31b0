-- group_leave: end this request, whatever became of it.
--
--   KEYS[1]  group       hash    birth, version; rid: token, since, ttl, seq and record, one a
--                                line; 'id:' and identity: rid; 'pace:' and rid: ms
--   KEYS[2]  alive       zset    members' rids by liveness deadline, server ms
--   KEYS[3]  log         stream  the last changes, each under the version that it made
--   KEYS[4]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[5]  tomb        string  how this request ended; a late arrival of it finds this
--   ARGV[1]  rid
--   ARGV[2]  tomb_ms             longer than a straggler of this request may live
--   ARGV[3]  identity
--   ARGV[4]  member              our name in the index
--   ARGV[5]  channel
--
--   returns {'left'}             it was a member
--           {'not ours'}         it was none, or no longer; also when asked again
local group, alive, log, index, tomb, rid = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1]
local was = redis.call('ZREM', alive, rid)
-- After the write above, which runs when memory is full, the server lets the rest pass too.
redis.call('SET', tomb, '1', 'PX', ARGV[2])
if was == 0 or redis.call('HEXISTS', group, 'version') == 0 then return {'not ours'} end -- or all was evicted
redis.call('HDEL', group, rid, 'pace:' .. rid)
if redis.call('HGET', group, 'id:' .. ARGV[3]) == rid then redis.call('HDEL', group, 'id:' .. ARGV[3]) end
if redis.call('EXISTS', alive) == 0 then redis.call('ZREM', index, ARGV[4]) end
local version = string.format('%.0f', redis.call('HINCRBY', group, 'version', 1))
redis.call('XADD', log, 'MAXLEN', 1024, version .. '-0', 'what', 'left', 'rid', rid, 'record', '')
redis.call('PUBLISH', ARGV[5], version)
return {'left'}
