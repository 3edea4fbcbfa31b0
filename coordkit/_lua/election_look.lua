-- election_look: who leads, who waits for it, and what has happened since a change that was seen.
--
--   KEYS[1]  lock        hash    rid, token, identity, meta, since, until, priority, paused, by
--   KEYS[2]  history     stream  how its terms began and ended
--   KEYS[3]  queue       zset    candidates' rids, first in line first
--   KEYS[4]  alive       zset    candidates' rids by liveness deadline, server ms
--   KEYS[5]  waiters     hash    rid: 'p' and priority, identity and meta, one a line
--   ARGV[1]  since               the id of that change; '-': all that is known, '+': nothing
--   ARGV[2]  candidates          1: list them
--
--   returns {'led', now, ends_ms, …}   ends_ms: from now on
--           {'vacant', now, ends_ms, …}
--           {'paused', now, ends_ms, …}  ends_ms: -1 is until it is resumed
--           and then in each, empty where there is none: why, by whom and by which request it is
--           paused; rid, token, since, identity, meta and priority of the leader; whether the
--           change is still known; changes; candidates, as rid, record, …
local lock, history, queue, alive, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local held = redis.call('HMGET', lock,
  'until', 'paused', 'by', 'pause', 'rid', 'token', 'since', 'identity', 'meta', 'priority')
local ends, rid, left = held[1], held[5], redis.call('PTTL', lock)
local state = held[2] and 'paused' or 'vacant'
if rid and rid ~= '' and tonumber(ends or now + 1) > now then
  state, left = 'led', ends and ends - now or left
end
local answer = {state, now, left}
for i = 2, 10 do answer[i + 2] = (i < 5 or state == 'led') and held[i] or '' end

local known = ARGV[1] == '-' or ARGV[1] == '+' or #redis.call('XRANGE', history, ARGV[1], ARGV[1]) == 1
local from = '(' .. ARGV[1]
if not known or ARGV[1] == '-' then from = '-' end
answer[13] = known and 1 or 0
answer[14] = ARGV[1] == '+' and {} or redis.call('XRANGE', history, from, '+')

local candidates = {}
if ARGV[2] == '1' then
  for _, rid in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    if tonumber(redis.call('ZSCORE', alive, rid) or 0) > now then
      candidates[#candidates + 1] = rid
      candidates[#candidates + 1] = redis.call('HGET', waiters, rid) or ''
    end
  end
end
answer[15] = candidates
return answer
