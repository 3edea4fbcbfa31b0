-- share_acquire: become one of the lock's shared holders, or say how long it is worth waiting.
--
--   KEYS[1]  lock        hash    the lease of the one holder, when held alone
--   KEYS[2]  queue       zset    waiters' rids by arrival; a shared one ends in 's'
--   KEYS[3]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[4]  waiters     hash    rid: ttl, identity and meta, one a line, of who may be handed it
--   KEYS[5]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[6]  fence       string  last token handed out in this bucket
--   KEYS[7]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[8]  records     hash    rid: token, since, identity and meta, one a line; limit
--   KEYS[9]  tomb        string  how this very request ended, if it has
--   ARGV[1]  rid                 the request; every retry carries the same
--   ARGV[2]  waiter_ttl_ms       0: do not queue
--   ARGV[3]  ttl_ms
--   ARGV[4]  limit               how many may hold it at once; 0: any number
--   ARGV[5]  fair                1: a free place belongs to the live head
--   ARGV[6]  identity
--   ARGV[7]  meta
--   ARGV[8]  member              our name in the index
--   ARGV[9]  wake                channel prefix; a rid starts with its session's 16 characters
--
--   returns {'taken', token}, {'busy', hint_ms, position, ends}, {'gone'}: as lock_acquire
--           {'limit', limit}  the present holders agreed on another limit
local lock, queue, alive, waiters, holders = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fence, index, records, tomb = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local rid, waiter_ttl, ttl, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

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

local function hold(token)
  local lasts = math.max(ttl, redis.call('PTTL', holders))
  redis.call('ZADD', index, now + lasts, ARGV[8])
  if redis.call('PTTL', index) < lasts then redis.call('PEXPIRE', index, 2 * lasts) end
  redis.call('ZADD', holders, now + ttl, rid)
  redis.call('HSET', records, rid, table.concat({token, string.format('%.0f', now), ARGV[6], ARGV[7]}, '\n'), 'limit', ARGV[4])
  if redis.call('PTTL', holders) < ttl then
    redis.call('PEXPIRE', holders, ttl)
    redis.call('PEXPIRE', records, ttl)
  end
  return {'taken', token}
end

if redis.call('EXISTS', tomb) == 1 then return {'gone'} end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now)) do
  redis.call('ZREM', holders, dead)
  redis.call('HDEL', records, dead, 'revoke:' .. dead)
end
if redis.call('ZSCORE', holders, rid) then
  return hold(string.match(redis.call('HGET', records, rid), '^%d+'))
end
local count = redis.call('ZCARD', holders)
local agreed = count > 0 and redis.call('HGET', records, 'limit')
if agreed and agreed ~= ARGV[4] then return {'limit', agreed} end

local head, head_ends = live_head()
local room = limit == 0 or count < limit
local held = redis.call('HGET', lock, 'rid')
if not held and room and (not head or head == rid or ARGV[5] == '0') then
  -- First what is refused when memory is full: after another write the server lets all pass.
  local now_us = time[1] * 1000000 + time[2]
  local token = string.format('%.0f', now_us) -- tostring would lose digits
  local last = redis.call('SET', fence, token, 'PX', 86400000, 'GET')
  if last and tonumber(last) >= now_us then
    token = string.format('%.0f', last + 1)
    redis.call('SET', fence, token, 'PX', 86400000)
  end
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  local answer = hold(token)
  if head then
    redis.call('ZREM', queue, rid)
    redis.call('ZREM', alive, rid)
    local next = live_head()
    if next and string.sub(next, -1) == 's' and (limit == 0 or count + 1 < limit) then
      redis.call('PUBLISH', ARGV[9] .. string.sub(next, 1, 16), next)
    end
  end
  return answer
end

local alive_until = 0
if waiter_ttl > 0 then
  alive_until = now + waiter_ttl
  redis.call('ZADD', queue, 'NX', time[1] * 1000000 + time[2], rid)
  redis.call('ZADD', alive, alive_until, rid)
  redis.call('PEXPIRE', queue, 120000) -- longer than any waiter_ttl; each ask renews it
  redis.call('PEXPIRE', alive, 120000)
end
local ends = head_ends or now
if not head or head == rid then
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')[2]
  local left = redis.call('PTTL', lock)
  if left == -1 then left = waiter_ttl end -- somebody took its end away
  ends = math.max(now + left, tonumber(first or now))
end
return {'busy', math.max(ends - now, 1), redis.call('ZRANK', queue, rid) or -1, alive_until}
