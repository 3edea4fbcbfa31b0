-- lock_release: end this request, whatever became of it, and wake the next waiter.
--
--   KEYS[1]  lock        hash    the lease
--   KEYS[2]  queue       zset    waiters' rids by arrival
--   KEYS[3]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[4]  tomb        string  how this request ended; a late arrival of it finds this
--   ARGV[1]  rid
--   ARGV[2]  tomb_ms             longer than a straggler of this request may live
--   ARGV[3]  hold_ms             keep it taken until so long after it was taken
--   ARGV[4]  wake                channel prefix; a rid starts with its session's 16 characters
--
--   returns {'released'}  it was ours; the same answer when asked again
--           {'not ours'}  it was never ours, or no longer; a queued request has left
--           {'broken'}    an operator ended it
local lock, queue, alive, tomb = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local rid, hold = ARGV[1], tonumber(ARGV[3])
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Wake the first waiter that still asks; the dead before it are buried, so many a call.
local function wake()
  local now
  for _ = 1, 1000 do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then return end
    now = now or clock()
    if tonumber(redis.call('ZSCORE', alive, head) or 0) > now then
      redis.call('PUBLISH', ARGV[4] .. string.sub(head, 1, 16), head)
      return
    end
    redis.call('ZREM', queue, head)
    redis.call('ZREM', alive, head)
  end
end

if redis.call('HGET', lock, 'rid') ~= rid then
  local before = redis.call('GET', tomb)
  if before then return {before} end
  redis.call('ZREM', queue, rid)
  redis.call('ZREM', alive, rid)
  -- After these writes, which run when memory is full, the server lets this one pass too.
  redis.call('SET', tomb, 'not ours', 'PX', ARGV[2])
  if redis.call('EXISTS', lock) == 0 then wake() end
  return {'not ours'}
end

local cooling = hold > 0 and redis.call('HGET', lock, 'since') + hold - clock() or 0
if cooling > 0 then
  redis.call('PEXPIRE', lock, cooling)
  redis.call('HSET', lock, 'rid', '')
else
  redis.call('DEL', lock)
  wake()
end
redis.call('SET', tomb, 'released', 'PX', ARGV[2])
return {'released'}
