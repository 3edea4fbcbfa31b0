-- election_transfer: ask the leader to resign, and put the candidate who is to follow first in line.
--
--   KEYS[1]  lock        hash    the leader's lease
--   KEYS[2]  queue       zset    candidates' rids, first in line first
--   KEYS[3]  alive       zset    candidates' rids by liveness deadline, server ms
--   KEYS[4]  waiters     hash    rid: 'p' and priority, identity and meta, one a line
--   ARGV[1]  rid                 the leader that was seen; another one is left alone
--   ARGV[2]  heir                identity of the candidate
--   ARGV[3]  why
--
--   returns {'asked'}
--           {'not held'} by that leader any more
--           {'nobody'} of that identity stands for election
--           {'several'} candidates have it
local lock, queue, alive, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('HGET', lock, 'rid') ~= ARGV[1] then return {'not held'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local heir
for _, rid in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
  local identity = string.match(redis.call('HGET', waiters, rid) or '', '^[^\n]*\n([^\n]*)\n')
  if identity == ARGV[2] and tonumber(redis.call('ZSCORE', alive, rid) or 0) > now then
    if heir then return {'several'} end
    heir = rid
  end
end
if not heir then return {'nobody'} end
redis.call('HSET', lock, 'revoke', ARGV[3])
-- Before whom any priority could put there; of several that were put there, the last goes first.
local first = tonumber(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2])
redis.call('ZADD', queue, math.min(-4000000000000000, first - 1), heir)
return {'asked'}
