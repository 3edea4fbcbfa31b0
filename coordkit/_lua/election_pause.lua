-- election_pause: have nobody lead for a while; whoever does is asked to resign.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until, priority, paused, by
--   KEYS[2]  history     stream  how its terms began and ended
--   KEYS[3]  index       zset    what the bucket holds, by lease end, server ms
--   ARGV[1]  pause_ms            0: until it is resumed
--   ARGV[2]  identity            of who asks
--   ARGV[3]  why
--   ARGV[4]  entry               its name in the index for as long as its history is kept
--   ARGV[5]  channel             where its observers listen
--
--   returns {'paused'}           nobody leads
--           {'asked'}            the leader is asked to resign
local lock, history, index, pause = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('XLEN', history) -- of another kind, it ends here: nothing is written
local held = redis.call('HMGET', lock, 'rid', 'until', 'paused')
local lease_end = tonumber(held[2] or now + redis.call('PTTL', lock))
local led = held[1] and held[1] ~= '' and lease_end > now

redis.call('PERSIST', lock) -- when memory is full, the server lets what follows pass too
if led then
  -- The lock outlives the lease, and closes it: this is what keeps it.
  redis.call('HSET', lock, 'until', lease_end, 'revoke', 'paused by ' .. ARGV[2])
  pause = pause > 0 and math.max(pause, lease_end - now) or 0
else
  redis.call('DEL', lock)
  redis.call('HSET', lock, 'rid', '')
end
redis.call('HSET', lock, 'paused', ARGV[3], 'by', ARGV[2])
if pause > 0 then redis.call('PEXPIRE', lock, pause) end
if not held[3] then
  redis.call('XADD', history, 'MAXLEN', 128, '*', 'what', 'paused', 'term', '0', 'at', now, 'identity', ARGV[2], 'why', ARGV[3])
  redis.call('ZADD', index, now + 7776000000, ARGV[4])
  for _, key in ipairs({history, index}) do redis.call('PEXPIRE', key, 7776000000) end -- 90 days
  redis.call('PUBLISH', ARGV[5], 'paused')
end
return {led and 'asked' or 'paused'}
