-- election_pause: have nobody lead for a while; whoever does is asked to resign.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until, priority, paused, by,
--                               pause, closed: nobody gets it until then, paused or not
--   KEYS[2]  history     stream  how its terms began and ended
--   KEYS[3]  index       zset    what the bucket holds, by lease end, server ms
--   KEYS[4]  tomb        string  that this very request was done; a late arrival of it finds this
--   ARGV[1]  rid                 the request; every retry carries the same
--   ARGV[2]  by_ms               server ms: one that arrives later is not wanted any more
--   ARGV[3]  pause_ms            0: until it is resumed
--   ARGV[4]  identity            of who asks
--   ARGV[5]  why
--   ARGV[6]  entry               its name in the index for as long as its history is kept
--   ARGV[7]  channel             where its observers listen
--
--   returns {'paused'}           nobody leads
--           {'asked'}            the leader is asked to resign
--           {'late'}             nothing is done: it may have been resumed since
local lock, history, index, tomb = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local by, pause = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > by then return {'late'} end
redis.call('XLEN', history) -- of another kind, it ends here: nothing is written
local held = redis.call('HMGET', lock, 'rid', 'until', 'paused', 'closed')
local closed = tonumber(held[4] or now + math.max(redis.call('PTTL', lock), 0))
local lease_end = tonumber(held[2] or closed)
local led = held[1] and held[1] ~= '' and lease_end > now
if redis.call('EXISTS', tomb) == 1 then return {led and 'asked' or 'paused'} end

redis.call('PERSIST', lock) -- when memory is full, the server lets what follows pass too
if led then
  -- The lock outlives the lease, and closes it: this is what keeps it.
  redis.call('HSET', lock, 'until', lease_end, 'revoke', 'paused by ' .. ARGV[4])
else
  redis.call('DEL', lock)
  redis.call('HSET', lock, 'rid', '')
end
redis.call('HSET', lock, 'paused', ARGV[5], 'by', ARGV[4], 'pause', ARGV[1], 'closed', closed)
redis.call('SET', tomb, '1', 'PX', by - now + 1000)
if pause > 0 then redis.call('PEXPIRE', lock, math.max(pause, closed - now)) end
if not held[3] then
  redis.call('XADD', history, 'MAXLEN', 128, '*', 'what', 'paused', 'term', '0', 'at', now, 'identity', ARGV[4], 'why', ARGV[5])
  redis.call('ZADD', index, now + 7776000000, ARGV[6])
  for _, key in ipairs({history, index}) do redis.call('PEXPIRE', key, 7776000000) end -- 90 days
  redis.call('PUBLISH', ARGV[7], 'paused')
end
return {led and 'asked' or 'paused'}
