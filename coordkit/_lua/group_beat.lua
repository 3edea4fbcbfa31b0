-- group_beat: push away the ends of many members, and bury whoever of their groups is silent.
--
--   KEYS[5*i-4]  group     hash    birth, version; rid: token, since, ttl, seq and record, one a
--                                  line; 'id:' and identity: rid; 'pace:' and rid: ms
--   KEYS[5*i-3]  alive     zset    members' rids by liveness deadline, server ms
--   KEYS[5*i-2]  log       stream  the last changes, each under the version that it made
--   KEYS[5*i-1]  index     zset    what the bucket holds, by lease end, server ms
--   KEYS[5*i]    fence     string  last token handed out in the bucket
--   ARGV[6*i-5]  rid
--   ARGV[6*i-4]  token
--   ARGV[6*i-3]  ttl_ms
--   ARGV[6*i-2]  identity
--   ARGV[6*i-1]  member            our name in the index
--   ARGV[6*i]    channel
--
--   returns {verdict, …} in the order asked: 'kept', or why not: 'expired', silent for too
--           long; 'stolen', another has its identity; 'evicted', 'data_lost', 'conflict'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function why_lost(i)
  local group = KEYS[5*i-4]
  local last = tonumber(redis.call('GET', KEYS[5*i]) or 0)
  if last < tonumber(ARGV[6*i-4]) then return 'data_lost' end
  local other = redis.call('HGET', group, 'id:' .. ARGV[6*i-2])
  if other and other ~= ARGV[6*i-5] then return 'stolen' end
  return redis.call('HEXISTS', group, 'version') == 1 and 'expired' or 'evicted'
end

local function beat(i)
  local group, alive, rid, ttl = KEYS[5*i-4], KEYS[5*i-3], ARGV[6*i-5], tonumber(ARGV[6*i-3])
  local ends = tonumber(redis.call('ZSCORE', alive, rid) or 0)
  local pace, stored = unpack(redis.call('HMGET', group, 'pace:' .. rid, rid))
  if ends <= now or not pace then return why_lost(i) end
  -- After an eviction an earlier question may have joined it anew: it asks by which token.
  if string.match(stored or '', '^%d+') ~= ARGV[6*i-4] then return 'evicted' end
  redis.call('ZADD', alive, now + ttl, rid)
  -- How often it is heard of, on the mean: the last eight intervals count most.
  local interval = now + ttl - ends
  redis.call('HSET', group, 'pace:' .. rid, math.floor(pace + (interval - pace) / 8))
  return 'kept'
end

-- Once a group and call: so many are buried, the others by the next.
local function sweep(i)
  local group, alive, log, index = KEYS[5*i-4], KEYS[5*i-3], KEYS[5*i-2], KEYS[5*i-1]
  local ttl = tonumber(ARGV[6*i-3])
  local dead = redis.call('ZRANGEBYSCORE', alive, '-inf', now, 'LIMIT', 0, 1000)
  local of, version = #dead > 0 and redis.call('ZCARD', alive), nil
  for _, rid in ipairs(dead) do
    local identity = string.match(redis.call('HGET', group, rid) or '', '^%d+\n%d+\n%d+\n%d+\n([^\n]*)')
    redis.call('ZREM', alive, rid)
    redis.call('HDEL', group, rid, 'pace:' .. rid, 'id:' .. (identity or ''))
    version = string.format('%.0f', redis.call('HINCRBY', group, 'version', 1))
    redis.call('XADD', log, 'MAXLEN', 1024, version .. '-0',
      'what', 'died', 'rid', rid, 'record', '', 'together', #dead, 'of', of)
  end
  if version then redis.call('PUBLISH', ARGV[6*i], version) end
  for _, key in ipairs({group, alive, log}) do
    if redis.call('PTTL', key) < 2 * ttl then redis.call('PEXPIRE', key, 4 * ttl) end
  end
  local lasts = redis.call('PTTL', group)
  redis.call('ZADD', index, now + lasts, ARGV[6*i-1])
  if redis.call('PTTL', index) < 4 * ttl then redis.call('PEXPIRE', index, 8 * ttl) end
end

local verdicts, swept = {}, {}
for i = 1, #KEYS / 5 do
  -- A fence outlives its leases.  And a server that cannot write now says so here, unheeded
  -- by pcall: that is no loss.
  redis.call('PEXPIRE', KEYS[5*i], 86400000)
  local ran, verdict = pcall(beat, i)
  verdicts[i] = ran and verdict or 'conflict'
  if verdict == 'kept' and not swept[KEYS[5*i-4]] then
    swept[KEYS[5*i-4]] = true
    pcall(sweep, i)
  end
end
return verdicts
