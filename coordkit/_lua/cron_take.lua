-- cron_take: write down that the holder of the lock runs a tick.
--
--   KEYS[1]  lock        hash    the lease under which a run is made
--   KEYS[2]  runs        list    rid, tick, attempt, since, ended, state, code, token, identity, spec
--   KEYS[3]  index       zset    what the bucket holds, by its end, server ms
--   ARGV[1]  rid                 the lease's
--   ARGV[2]  tick                server ms
--   ARGV[3]  attempt             which try of this tick it is
--   ARGV[4]  identity
--   ARGV[5]  spec                when ticks are, in words
--   ARGV[6]  kept                so many runs are kept
--   ARGV[7]  kept_ms             for so long
--   ARGV[8]  entry               our name in the index
--
--   returns {'taken', since}     ours to run; the same answer when asked again
--           {'not held'}         the lock is not ours, or no longer
local runs, index, rid = KEYS[2], KEYS[3], ARGV[1]
local held = redis.call('HMGET', KEYS[1], 'rid', 'token')
local last = redis.call('LRANGE', runs, 0, 0)[1] or ''
if string.sub(last, 1, #rid + 1) == rid .. '\n' then
  return {'taken', string.match(last, '^[^\n]*\n%d+\n%d+\n(%d+)')}
end
if held[1] ~= rid then return {'not held'} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = string.format('%.0f', now)
local begun = table.concat({rid, ARGV[2], ARGV[3], since}, '\n')
local more = table.concat({held[2], ARGV[4], ARGV[5]}, '\n')
redis.call('LPUSH', runs, begun .. '\n\nrunning\n\n' .. more)
redis.call('LTRIM', runs, 0, ARGV[6] - 1)
redis.call('PEXPIRE', runs, ARGV[7])
redis.call('ZADD', index, now + ARGV[7], ARGV[8])
if redis.call('PTTL', index) < tonumber(ARGV[7]) then redis.call('PEXPIRE', index, ARGV[7]) end
return {'taken', since}
