-- share_renew: push away the ends of many shared leases; one that is lost disturbs no other.
--
--   KEYS[5*i-4]  holders   zset    the i-th lease is an entry of it, by lease end, server ms
--   KEYS[5*i-3]  records   hash    what each shared holder said of itself
--   KEYS[5*i-2]  index     zset    what its bucket holds, by lease end, server ms
--   KEYS[5*i-1]  tomb      string  how its request ended, if it has
--   KEYS[5*i]    fence     string  last token handed out in its bucket
--   ARGV[4*i-3]  rid
--   ARGV[4*i-2]  token
--   ARGV[4*i-1]  ttl_ms
--   ARGV[4*i]    member            our name in the index
--
--   returns {verdict, …} in the order asked, as lock_renew
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function why_lost(i, ends)
  if string.sub(redis.call('GET', KEYS[5*i-1]) or '', 1, 6) == 'broken' then return 'broken' end
  if ends then return 'expired' end
  local last = tonumber(redis.call('GET', KEYS[5*i]) or 0)
  return last < tonumber(ARGV[4*i-2]) and 'data_lost' or 'evicted'
end

local function renew(i)
  local holders, records, rid, ttl = KEYS[5*i-4], KEYS[5*i-3], ARGV[4*i-3], tonumber(ARGV[4*i-1])
  local ends = tonumber(redis.call('ZSCORE', holders, rid) or 0)
  if ends <= now then return why_lost(i, ends > 0) end
  if redis.call('HEXISTS', records, 'revoke:' .. rid) == 1 then return 'revoked' end
  local lasts = math.max(ttl, redis.call('PTTL', holders))
  redis.call('PEXPIRE', holders, lasts)
  redis.call('PEXPIRE', records, lasts)
  redis.call('ZADD', holders, now + ttl, rid)
  redis.call('ZADD', KEYS[5*i-2], now + lasts, ARGV[4*i])
  if redis.call('PTTL', KEYS[5*i-2]) < lasts then redis.call('PEXPIRE', KEYS[5*i-2], 2 * lasts) end
  return 'kept'
end

local verdicts = {}
for i = 1, #KEYS / 5 do
  -- A fence outlives its leases.  And a server that cannot write now says so here, unheeded
  -- by pcall: that is no loss.
  redis.call('PEXPIRE', KEYS[5*i], 86400000)
  local ran, verdict = pcall(renew, i)
  verdicts[i] = ran and verdict or 'conflict'
end
return verdicts
