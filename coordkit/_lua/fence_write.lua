-- fence_write: write a value, or take it away, if the token is admitted and the value as expected.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; last: the last entry of the journal
--   KEYS[2]  value       string  what was written to this field
--   KEYS[3]  memo        string  the last request of this lane, and what it was answered
--   ARGV[1]  seq                 the request; every retry carries the same, later ones a higher one
--   ARGV[2]  memo_ms             for so long a retry may come
--   ARGV[3]  token
--   ARGV[4]  what                set or delete
--   ARGV[5]  written             the value to be
--   ARGV[6]  ttl_ms              0: it does not expire
--   ARGV[7]  if_is               any, absent, or equal to what follows
--   ARGV[8]  expected
--
--   returns {'done', seen}       the same when asked again
--           {'differs', seen}    the token is admitted, the value not as expected: it stays; likewise
--           {'stale', seen}      a newer token was seen
--           {'gone', seen}       a later request of the lane was answered before
local guard, value, memo, token, seq = KEYS[1], KEYS[2], KEYS[3], ARGV[3], tonumber(ARGV[1])
local last, past = string.match(redis.call('GET', memo) or '', '^(%d+) ?(.*)$')
local seen = redis.call('HGET', guard, 'seen')
if last and tonumber(last) == seq then return {past, seen or token} end
if last and tonumber(last) > seq then return {'gone', seen or '0'} end
if seen and tonumber(token) < tonumber(seen) then return {'stale', seen} end

redis.call('STRLEN', value) -- one of another kind ends it here
local present = ARGV[7] ~= 'any' and redis.call('GET', value)
local verdict = 'done'
if ARGV[7] == 'absent' and present or ARGV[7] == 'equal' and present ~= ARGV[8] then
  verdict = 'differs'
elseif ARGV[4] == 'delete' then
  redis.call('DEL', value) -- where memory is full: after it the server lets the rest pass
elseif ARGV[6] ~= '0' then
  redis.call('SET', value, ARGV[5], 'PX', ARGV[6])
else
  redis.call('SET', value, ARGV[5])
end
if seen ~= token then redis.call('HSET', guard, 'seen', token) end
-- A no is remembered like a yes: a straggler must not turn it into one.
redis.call('SET', memo, ARGV[1] .. ' ' .. verdict, 'PX', ARGV[2])
return {verdict, token}
