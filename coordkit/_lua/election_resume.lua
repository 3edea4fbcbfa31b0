-- election_resume: let somebody lead again, and wake the first in line.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until, priority, paused, by,
--                               pause, closed: nobody gets it until then, paused or not
--   KEYS[2]  history     stream  how its terms began and ended
--   KEYS[3]  queue       zset    candidates' rids, first in line first
--   ARGV[1]  pause               the one that was seen; a later one goes on
--   ARGV[2]  identity            of who asks
--   ARGV[3]  wake                channel prefix; a rid starts with its session's 16 characters
--   ARGV[4]  channel             where its observers listen
--
--   returns {'resumed'} or {'not paused'}
local lock, history, queue = KEYS[1], KEYS[2], KEYS[3]
local held = redis.call('HMGET', lock, 'pause', 'closed')
if held[1] ~= ARGV[1] then return {'not paused'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(held[2] or now) - now

redis.call('HDEL', lock, 'paused', 'by', 'pause', 'closed')
if left > 0 then -- who led has not resigned: its lease, and the delay after it, end as they would have
  redis.call('PEXPIRE', lock, left)
else
  redis.call('DEL', lock)
end
redis.call('XADD', history, 'MAXLEN', 128, '*', 'what', 'resumed', 'term', '0', 'at', now, 'identity', ARGV[2], 'why', '')
redis.call('PUBLISH', ARGV[4], 'resumed')
local head = left <= 0 and redis.call('ZRANGE', queue, 0, 0)[1]
if head then redis.call('PUBLISH', ARGV[3] .. string.sub(head, 1, 16), head) end
return {'resumed'}
