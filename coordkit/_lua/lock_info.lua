-- lock_info: who holds the lock, alone or shared, and how many wait.
--
--   KEYS[1]  lock        hash    the lease of the one holder
--   KEYS[2]  alive       zset    waiters' rids by liveness deadline, server ms
--   KEYS[3]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[4]  records     hash    what each shared holder said of itself; limit
--
--   returns {'free', waiters}
--           {'held', waiters, rid, ends_ms, token, since, identity, meta}
--           {'shared', waiters, limit, rid, ends_ms, record, rid, ends_ms, record, …}
--           ends_ms: from now on; record: token, since, identity and meta, one a line
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local after = string.format('(%.0f', now)
local waiters = redis.call('ZCOUNT', KEYS[2], after, '+inf')

local held = redis.call('HMGET', KEYS[1], 'rid', 'token', 'since', 'identity', 'meta')
if held[1] then
  return {'held', waiters, held[1], redis.call('PTTL', KEYS[1]), held[2], held[3], held[4], held[5]}
end
local holders = redis.call('ZRANGEBYSCORE', KEYS[3], after, '+inf', 'WITHSCORES')
if #holders == 0 then return {'free', waiters} end
local answer = {'shared', waiters, redis.call('HGET', KEYS[4], 'limit') or '0'}
for i = 1, #holders, 2 do
  answer[#answer + 1] = holders[i]
  answer[#answer + 1] = tonumber(holders[i + 1]) - now
  answer[#answer + 1] = redis.call('HGET', KEYS[4], holders[i]) or ''
end
return answer
