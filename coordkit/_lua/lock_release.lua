-- lock_release: end this request, whatever became of it, and hand the lock to the next waiter.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until; expires with the lease
--   KEYS[2]  queue       zset    waiters' rids by arrival, less a head start for their priority
--   KEYS[3]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[4]  waiters     hash    rid: ttl, identity and meta, one a line, of who may be handed it;
--                                in an election 'p' and the priority stand for the ttl
--   KEYS[5]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[6]  fence       string  last token handed out in this bucket
--   KEYS[7]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[8]  tomb        string  how this request ended; a late arrival of it finds this
--   KEYS[9]  history     stream  of an election only: how its terms began and ended
--   ARGV[1]  rid
--   ARGV[2]  tomb_ms             longer than a straggler of this request may live
--   ARGV[3]  hold_ms             keep it taken until so long after it was taken
--   ARGV[4]  member              our name in the index
--   ARGV[5]  wake                channel prefix; a rid starts with its session's 16 characters
--   ARGV[6]  channel             of an election only: where its observers listen
--   ARGV[7]  why                 and what the leader resigns for
--
--   returns {'released'}  it was ours; the same answer when asked again
--           {'not ours'}  it was never ours, or no longer; a queued request has left
--           {'broken'}    an operator ended it
--   publishes 'rid token ends': it is yours until ends, when your liveness was to end, or for
--           your ttl if that is shorter; or just 'rid': ask again
local lock, queue, alive, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holders, fence, index, tomb, rid = KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[1]

local function grant(head, ends, record, now, now_us)
  local ttl, identity, meta = string.match(record, '^(%d+)\n([^\n]*)\n(.*)$')
  local token = string.format('%.0f', now_us) -- tostring would lose digits
  local last = redis.call('SET', fence, token, 'PX', 86400000, 'GET')
  if last and tonumber(last) >= now_us then
    token = string.format('%.0f', last + 1)
    redis.call('SET', fence, token, 'PX', 86400000)
  end
  redis.call('ZREM', queue, head)
  redis.call('ZREM', alive, head)
  redis.call('HDEL', waiters, head)
  local lasts = math.min(ends - now, tonumber(ttl))
  redis.call('ZADD', index, now + lasts, ARGV[4])
  redis.call('HSET', lock, 'rid', head, 'token', token, 'since', now, 'identity', identity, 'meta', meta)
  redis.call('PEXPIRE', lock, lasts)
  return head .. ' ' .. token .. ' ' .. string.format('%.0f', ends)
end

-- Serve the first waiter that still asks; the dead before it are buried, so many a call.
local function hand_over()
  local time, now
  for _ = 0, 1000 do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then return end
    time = time or redis.call('TIME')
    now = now or time[1] * 1000 + math.floor(time[2] / 1000)
    local ends = tonumber(redis.call('ZSCORE', alive, head) or 0)
    if ends > now then
      local record, message = redis.call('HGET', waiters, head), head
      if record and string.sub(record, 1, 1) ~= 'p' then
        if redis.call('EXISTS', holders) == 1 then return end -- it is shared still
        message = grant(head, ends, record, now, time[1] * 1000000 + time[2])
      end
      redis.call('PUBLISH', ARGV[5] .. string.sub(head, 1, 16), message)
      return
    end
    redis.call('ZREM', queue, head)
    redis.call('ZREM', alive, head)
    redis.call('HDEL', waiters, head)
  end
end

local function resigned(term, identity, why)
  local time = redis.call('TIME')
  redis.call('XADD', KEYS[9], 'MAXLEN', 128, '*', 'what', 'resigned', 'term', term,
    'at', time[1] * 1000 + math.floor(time[2] / 1000), 'identity', identity, 'why', why)
  redis.call('PUBLISH', ARGV[6], term)
end

local held = redis.call('HMGET', lock, 'rid', 'until')
if held[1] ~= rid then
  local before = redis.call('GET', tomb)
  if before then return {before} end
  local first = redis.call('ZRANGE', queue, 0, 0)[1] == rid
  redis.call('ZREM', queue, rid)
  redis.call('ZREM', alive, rid)
  redis.call('HDEL', waiters, rid)
  -- After these writes, which run when memory is full, the server lets the rest pass too.
  redis.call('SET', tomb, 'not ours', 'PX', ARGV[2])
  local next = first and redis.call('ZRANGE', queue, 0, 0)[1]
  if redis.call('EXISTS', lock) == 0 then
    hand_over()
  elseif next then -- it asks again when this one's liveness would end, not when the lease does
    redis.call('PUBLISH', ARGV[5] .. string.sub(next, 1, 16), next)
  end
  return {'not ours'}
end

if held[2] then -- its lease may have run out unheard, so that it asked again and queued
  redis.call('ZREM', queue, rid)
  redis.call('ZREM', alive, rid)
  redis.call('HDEL', waiters, rid)
end
local cooling = 0
if tonumber(ARGV[3]) > 0 then
  local time = redis.call('TIME')
  cooling = redis.call('HGET', lock, 'since') + ARGV[3] - time[1] * 1000 - math.floor(time[2] / 1000)
end
local led = KEYS[9] and redis.call('HMGET', lock, 'token', 'identity', 'revoke', 'paused')
if cooling > 0 then
  redis.call('PEXPIRE', lock, cooling)
  redis.call('HSET', lock, 'rid', '')
elseif led and led[4] then -- nobody is to lead
  redis.call('HDEL', lock, 'until', 'revoke', 'priority', 'closed')
  redis.call('HSET', lock, 'rid', '')
else
  redis.call('DEL', lock)
  if not led then hand_over() end
end
if led then
  -- The leader has resigned, though its observers' stream be overwritten by something else.
  pcall(resigned, led[1], led[2], led[3] or ARGV[7])
  if not led[4] then hand_over() end
end
redis.call('SET', tomb, 'released', 'PX', ARGV[2])
return {'released'}
