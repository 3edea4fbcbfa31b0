-- lock_renew: push away the ends of many leases; one that is lost disturbs no other.
--
--   KEYS[4*i-3]  lock      hash    the i-th lease
--   KEYS[4*i-2]  index     zset    what its bucket holds, by lease end, server ms
--   KEYS[4*i-1]  tomb      string  how its request ended, if it has
--   KEYS[4*i]    fence     string  last token handed out in its bucket
--   ARGV[5*i-4]  rid
--   ARGV[5*i-3]  token
--   ARGV[5*i-2]  ttl_ms
--   ARGV[5*i-1]  delay_ms
--   ARGV[5*i]    member            our name in the index
--
--   returns {verdict, …} in the order asked: 'kept', or why not: 'revoked' (asked to let go,
--           not prolonged), 'expired', 'broken', 'stolen', 'evicted', 'data_lost', 'conflict'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function why_lost(i, rid)
  if string.sub(redis.call('GET', KEYS[4*i-1]) or '', 1, 6) == 'broken' then return 'broken' end
  if rid then return 'stolen' end
  local last = tonumber(redis.call('GET', KEYS[4*i]) or 0)
  return last < tonumber(ARGV[5*i-3]) and 'data_lost' or 'evicted'
end

local function renew(i)
  local lock, index, ttl, delay = KEYS[4*i-3], KEYS[4*i-2], tonumber(ARGV[5*i-2]), tonumber(ARGV[5*i-1])
  local held = redis.call('HMGET', lock, 'rid', 'until', 'revoke')
  if held[1] ~= ARGV[5*i-4] then return why_lost(i, held[1]) end
  if held[2] and tonumber(held[2]) <= now then return 'expired' end
  if held[3] then return 'revoked' end
  redis.call('PEXPIRE', lock, ttl + delay)
  if held[2] then redis.call('HSET', lock, 'until', now + ttl) end
  redis.call('ZADD', index, now + ttl + delay, ARGV[5*i])
  if redis.call('PTTL', index) < ttl + delay then redis.call('PEXPIRE', index, 2 * (ttl + delay)) end
  return 'kept'
end

local verdicts = {}
for i = 1, #KEYS / 4 do
  -- A fence outlives its leases.  And a server that cannot write now says so here, unheeded
  -- by pcall: that is no loss.
  redis.call('PEXPIRE', KEYS[4*i], 86400000)
  local ran, verdict = pcall(renew, i)
  verdicts[i] = ran and verdict or 'conflict'
end
return verdicts
