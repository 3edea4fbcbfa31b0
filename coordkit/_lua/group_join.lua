-- group_join: have many become members, each of its group; one that cannot disturbs no other.
--
--   KEYS[6*i-5]  group     hash    birth, version; rid: token, since, ttl, seq and record, one a
--                                  line; 'id:' and identity: rid; 'pace:' and rid: ms
--   KEYS[6*i-4]  alive     zset    members' rids by liveness deadline, server ms
--   KEYS[6*i-3]  log       stream  the last changes, each under the version that it made
--   KEYS[6*i-2]  index     zset    what the bucket holds, by lease end, server ms
--   KEYS[6*i-1]  tomb      string  how this very request ended, if it has
--   KEYS[6*i]    fence     string  last token handed out in the bucket
--   ARGV[8*i-7]  rid               the member; it may join again under the same
--   ARGV[8*i-6]  ttl_ms
--   ARGV[8*i-5]  seq               of the record: of two, the higher one counts
--   ARGV[8*i-4]  identity
--   ARGV[8*i-3]  record            identity, zone, weight, capacity, state, load and meta, one a line
--   ARGV[8*i-2]  replace           1: take the place of another member of that identity
--   ARGV[8*i-1]  member            our name in the index
--   ARGV[8*i]    channel
--
--   returns {{verdict, token}, …} in the order asked: 'joined'; 'taken', its identity is
--           another's; 'gone', it has left; 'conflict'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = time[1] * 1000000 + time[2]

local function next_version(i)
  local version = redis.call('HINCRBY', KEYS[6*i-5], 'version', 1)
  version = string.format('%.0f', version)
  redis.call('PUBLISH', ARGV[8*i], version)
  return version .. '-0'
end

-- The silent are buried together, not each as it comes back: so it is seen how many they were.
local function bury(i, dead)
  local group, alive, log = KEYS[6*i-5], KEYS[6*i-4], KEYS[6*i-3]
  local of = redis.call('ZCARD', alive)
  for _, rid in ipairs(dead) do
    local identity = string.match(redis.call('HGET', group, rid) or '', '^%d+\n%d+\n%d+\n%d+\n([^\n]*)')
    redis.call('ZREM', alive, rid)
    redis.call('HDEL', group, rid, 'pace:' .. rid, 'id:' .. (identity or ''))
    redis.call('XADD', log, 'MAXLEN', 1024, next_version(i),
      'what', 'died', 'rid', rid, 'record', '', 'together', #dead, 'of', of)
  end
end

-- Another of its identity lives, and makes room.
local function displace(i, rid)
  redis.call('ZREM', KEYS[6*i-4], rid)
  redis.call('HDEL', KEYS[6*i-5], rid, 'pace:' .. rid)
  redis.call('XADD', KEYS[6*i-3], 'MAXLEN', 1024, next_version(i), 'what', 'left', 'rid', rid, 'record', '')
end

local function mint(i)
  local token = string.format('%.0f', now_us) -- tostring would lose digits
  local last = redis.call('SET', KEYS[6*i], token, 'PX', 86400000, 'GET')
  if last and tonumber(last) >= now_us then
    token = string.format('%.0f', last + 1)
    redis.call('SET', KEYS[6*i], token, 'PX', 86400000)
  end
  return token
end

local function join(i, minted)
  local group, alive, log, index, tomb = KEYS[6*i-5], KEYS[6*i-4], KEYS[6*i-3], KEYS[6*i-2], KEYS[6*i-1]
  local rid, ttl, identity = ARGV[8*i-7], tonumber(ARGV[8*i-6]), ARGV[8*i-4]
  if redis.call('EXISTS', tomb) == 1 then return {'gone'} end
  local known = redis.call('HGET', group, rid)
  if known and tonumber(redis.call('ZSCORE', alive, rid) or 0) > now then
    redis.call('ZADD', alive, now + ttl, rid)
    return {'joined', string.match(known, '^%d+')}
  end
  -- What is of another kind ends it here: nothing is written.
  redis.call('ZCARD', alive)
  redis.call('XLEN', log)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  if redis.call('EXISTS', alive) == 0 and redis.call('HLEN', group) > 2 then
    redis.call('DEL', group) -- the deadlines of those who are in it were evicted
  end
  if redis.call('HEXISTS', group, 'version') == 0 then
    redis.call('HSET', group, 'birth', string.format('%.0f', now_us), 'version', 0)
    redis.call('DEL', alive, log)
  end
  local dead = redis.call('ZRANGEBYSCORE', alive, '-inf', now, 'LIMIT', 0, 1000)
  if #dead > 0 then bury(i, dead) end

  local other = redis.call('HGET', group, 'id:' .. identity)
  local ends = other and tonumber(redis.call('ZSCORE', alive, other) or 0)
  if other and ends <= now then bury(i, {other}) -- there were more than so many
  elseif other and ARGV[8*i-2] ~= '1' then return {'taken'}
  elseif other then displace(i, other) end
  local stored = table.concat({minted, string.format('%.0f', now), ARGV[8*i-6], ARGV[8*i-5], ARGV[8*i-3]}, '\n')
  redis.call('HSET', group, rid, stored, 'id:' .. identity, rid, 'pace:' .. rid, math.floor(ttl / 3))
  redis.call('ZADD', alive, now + ttl, rid)
  redis.call('XADD', log, 'MAXLEN', 1024, next_version(i), 'what', 'joined', 'rid', rid, 'record', stored)
  for _, key in ipairs({group, alive, log}) do
    if redis.call('PTTL', key) < 2 * ttl then redis.call('PEXPIRE', key, 4 * ttl) end
  end
  local lasts = redis.call('PTTL', group)
  redis.call('ZADD', index, now + lasts, ARGV[8*i-1])
  if redis.call('PTTL', index) < 4 * ttl then redis.call('PEXPIRE', index, 8 * ttl) end
  return {'joined', minted}
end

local verdicts = {}
for i = 1, #KEYS / 6 do
  -- First of all what the server refuses when memory is full, or when it cannot write:
  -- unheeded by pcall, for that is no conflict.
  local ran, verdict = pcall(join, i, mint(i))
  verdicts[i] = ran and verdict or {'conflict'}
end
return verdicts
