-- lock_break: take the lock from the holder that was seen, and wake the next waiter.
--
--   KEYS[1]  lock        hash    the lease
--   KEYS[2]  queue       zset    waiters' rids by arrival
--   KEYS[3]  tomb        string  how the holder's request ended; its next renewal finds this
--   KEYS[4]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[5]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[6]  records     hash    what each shared holder said of itself
--   ARGV[1]  rid                 the holder that was seen; another one is left alone
--   ARGV[2]  tomb_ms             longer than the broken lease could still have lasted
--   ARGV[3]  member              our name in the index
--   ARGV[4]  wake                channel prefix; a rid starts with its session's 16 characters
--
--   returns {'broken'} or {'not held'} by that holder any more
local lock, queue, rid = KEYS[1], KEYS[2], ARGV[1]
if redis.call('HGET', lock, 'rid') == rid then
  redis.call('DEL', lock)
  redis.call('ZREM', KEYS[4], ARGV[3])
elseif redis.call('ZREM', KEYS[5], rid) == 1 then
  redis.call('HDEL', KEYS[6], rid)
else
  return {'not held'}
end
-- After the writes above, which run when memory is full, the server lets this one pass too.
redis.call('SET', KEYS[3], 'broken', 'PX', ARGV[2])
local head = redis.call('ZRANGE', queue, 0, 0)[1]
if head then redis.call('PUBLISH', ARGV[4] .. string.sub(head, 1, 16), head) end
return {'broken'}
