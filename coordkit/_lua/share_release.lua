-- share_release: end this shared request, whatever became of it, and wake the next waiter.
--
--   KEYS[1]  lock        hash    the lease of the one holder, when held alone
--   KEYS[2]  queue       zset    waiters' rids by arrival; a shared one ends in 's'
--   KEYS[3]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[4]  waiters     hash    rid: ttl, identity and meta, one a line, of who may be handed it
--   KEYS[5]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[6]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[7]  records     hash    what each shared holder said of itself
--   KEYS[8]  tomb        string  how this request ended; a late arrival of it finds this
--   ARGV[1]  rid
--   ARGV[2]  tomb_ms             longer than a straggler of this request may live
--   ARGV[3]  member              our name in the index
--   ARGV[4]  wake                channel prefix; a rid starts with its session's 16 characters
--
--   returns {'released'}, {'not ours'}, {'broken'}: as lock_release
local lock, queue, alive, waiters, holders = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local index, records, tomb, rid = KEYS[6], KEYS[7], KEYS[8], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The first waiter that still asks; the dead before it are buried, so many a call.
local function live_head()
  for _ = 0, 1000 do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head or tonumber(redis.call('ZSCORE', alive, head) or 0) > now then return head end
    redis.call('ZREM', queue, head)
    redis.call('ZREM', alive, head)
    redis.call('HDEL', waiters, head)
  end
end

local ends = redis.call('ZSCORE', holders, rid)
local before = redis.call('GET', tomb)
if before and not ends then return {before} end

local outcome = ends and tonumber(ends) > now and 'released' or 'not ours'
redis.call('ZREM', holders, rid)
redis.call('HDEL', records, rid, 'revoke:' .. rid)
local first = redis.call('ZRANGE', queue, 0, 0)[1] == rid
redis.call('ZREM', queue, rid)
redis.call('ZREM', alive, rid)
if redis.call('EXISTS', holders) == 0 then redis.call('DEL', records) end
if redis.call('EXISTS', lock, holders) == 0 then redis.call('ZREM', index, ARGV[3]) end
-- After the writes above, which run when memory is full, the server lets this one pass too.
redis.call('SET', tomb, outcome, 'PX', ARGV[2])

-- A waiter for the lock alone is not woken before the last shared holder has left.
-- But who becomes the first is: it would ask again when this one's liveness ends.
local head = (first or redis.call('EXISTS', lock) == 0) and live_head()
if head and (first or string.sub(head, -1) == 's' or redis.call('ZCARD', holders) == 0) then
  redis.call('PUBLISH', ARGV[4] .. string.sub(head, 1, 16), head)
end
return {outcome}
