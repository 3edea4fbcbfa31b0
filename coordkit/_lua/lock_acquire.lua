-- lock_acquire: take the lock for this request, or say how long it is worth waiting.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until; expires with the lease
--   KEYS[2]  queue       zset    waiters' rids by arrival, less a head start for their priority
--   KEYS[3]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[4]  waiters     hash    rid: ttl, identity and meta, one a line, of who may be handed it;
--                                in an election 'p' and the priority stand for the ttl
--   KEYS[5]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[6]  fence       string  last token handed out in this bucket
--   KEYS[7]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[8]  tomb        string  how this very request ended, if it has
--   KEYS[9]  history     stream  of an election only: how its terms began and ended
--   ARGV[1]  rid                 the request; every retry carries the same
--   ARGV[2]  waiter_ttl_ms       0: do not queue
--   ARGV[3]  ttl_ms
--   ARGV[4]  delay_ms            nobody else gets it for so long after the lease ran out
--   ARGV[5]  fair                1: a free lock belongs to its live head
--   ARGV[6]  identity
--   ARGV[7]  meta
--   ARGV[8]  member              our name in the index
--   ARGV[9]  priority            of an election only, as all that follow
--   ARGV[10] preempt             1: ask a leader of lower priority to resign
--   ARGV[11] entry               its name in the index for as long as its history is kept
--   ARGV[12] channel             where its observers listen
--
--   returns {'taken', token}           ours, again with the same token when asked again
--           {'busy', hint_ms, position, ends}  ask again after hint_ms; position -1 when not
--                              queued; ends: the liveness deadline that this ask has set, else 0
--           {'gone'}                   this request was given up, released or broken before
local lock, queue, alive, waiters, holders = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fence, index, tomb, history = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local rid, waiter_ttl, ttl, delay = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = time[1] * 1000000 + time[2]

local function elected(token)
  redis.call('HSET', lock, 'priority', ARGV[9])
  redis.call('XADD', history, 'MAXLEN', 128, '*', 'what', 'elected', 'term', token, 'at', now,
    'identity', ARGV[6], 'why', '', 'priority', ARGV[9], 'meta', ARGV[7])
  redis.call('ZADD', index, now + 7776000000, ARGV[11])
  for _, key in ipairs({history, index}) do redis.call('PEXPIRE', key, 7776000000) end -- 90 days
  redis.call('PUBLISH', ARGV[12], token)
end

local function take()
  if history then redis.call('XLEN', history) end -- of another kind, it ends here: nothing is written
  local token = string.format('%.0f', now_us) -- tostring would lose digits
  -- The time floor covers what is older than a day.
  local last = redis.call('SET', fence, token, 'PX', 86400000, 'GET')
  if last and tonumber(last) >= now_us then -- the clock went back, or this is the same microsecond
    token = string.format('%.0f', last + 1)
    redis.call('SET', fence, token, 'PX', 86400000)
  end
  local added = redis.call('ZADD', index, now + ttl + delay, ARGV[8])
  if added == 1 or time[2] % 16 == 0 then -- now and then: a name in constant use is not added again
    redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
    if redis.call('PTTL', index) < ttl + delay then redis.call('PEXPIRE', index, 2 * (ttl + delay)) end
  end
  redis.call('HSET', lock, 'rid', rid, 'token', token, 'since', now, 'identity', ARGV[6], 'meta', ARGV[7])
  if delay > 0 then redis.call('HSET', lock, 'until', now + ttl) end
  redis.call('PEXPIRE', lock, ttl + delay)
  if history then elected(token) end
  return {'taken', token}
end

-- The common case: nobody holds it, nobody waits, and this request has no past.
if redis.call('EXISTS', lock, queue, holders, tomb) == 0 then return take() end

-- The first waiter that still asks; the dead before it are buried, so many a call.
local function live_head()
  for _ = 0, 1000 do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    local ends = head and tonumber(redis.call('ZSCORE', alive, head) or 0)
    if not head or ends > now then return head, ends end
    redis.call('ZREM', queue, head)
    redis.call('ZREM', alive, head)
    redis.call('HDEL', waiters, head)
  end
  return '', now
end

if redis.call('EXISTS', tomb) == 1 then return {'gone'} end
local held = redis.call('HMGET', lock, 'rid', 'token', 'until', 'paused', 'priority', 'revoke')
if held[1] == rid and tonumber(held[3] or now + 1) > now then
  local left = held[4] and redis.call('PTTL', lock) or 0 -- a pause may last longer, or for ever
  if left >= 0 and left < ttl + delay then redis.call('PEXPIRE', lock, ttl + delay) end
  if held[3] then redis.call('HSET', lock, 'until', now + ttl) end
  if held[4] then redis.call('HSET', lock, 'closed', now + ttl + delay) end
  return {'taken', held[2]}
end

local head, head_ends = live_head()
local readers_end = tonumber(redis.call('ZREVRANGE', holders, 0, 0, 'WITHSCORES')[2] or 0)
-- So many µs a waiter of that priority goes before one of priority 0: 2^45, a year, for each.
local start = history and ARGV[9] * 35184372088832 or 0
local first = not head or head == rid or ARGV[5] == '0'
  or history and now_us - start < tonumber(redis.call('ZSCORE', queue, head) or 0)
if not held[1] and readers_end <= now and first then
  redis.call('ZREM', queue, rid)
  redis.call('ZREM', alive, rid)
  redis.call('HDEL', waiters, rid)
  return take()
end

local alive_until = 0
if waiter_ttl > 0 then
  alive_until = now + waiter_ttl
  redis.call('ZADD', queue, 'NX', now_us - start, rid)
  redis.call('ZADD', alive, alive_until, rid)
  if history or delay == 0 then
    local ttl_or_priority = history and 'p' .. ARGV[9] or ARGV[3]
    redis.call('HSET', waiters, rid, table.concat({ttl_or_priority, ARGV[6], ARGV[7]}, '\n'))
  end
  for _, key in ipairs({queue, alive, waiters}) do
    redis.call('PEXPIRE', key, 120000) -- longer than any waiter_ttl; each ask renews it
  end
end
if ARGV[10] == '1' and held[5] and not held[6] and tonumber(held[5]) < tonumber(ARGV[9]) then
  redis.call('HSET', lock, 'revoke', 'preempted by ' .. ARGV[6])
end
local ends, place = head_ends or now, redis.call('ZRANK', queue, rid) or -1
if not head or place == 0 then
  local left = redis.call('PTTL', lock)
  if left == -1 then left = waiter_ttl end -- somebody took its end away
  ends = held[1] and now + left or readers_end
end
return {'busy', math.max(ends - now, 1), place, alive_until}
