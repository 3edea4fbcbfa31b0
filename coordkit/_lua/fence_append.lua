-- fence_append: append an entry to the journal, if the token is admitted and nobody was faster.
--
--   KEYS[1]  guard       hash    seen: the highest token admitted; last: the last entry of the journal
--   KEYS[2]  journal     stream  the entries, each under '<number>-<token>'
--   KEYS[3]  memo        string  the last request of this lane, and what it was answered
--   ARGV[1]  seq                 the request; every retry carries the same, later ones a higher one
--   ARGV[2]  memo_ms             for so long a retry may come
--   ARGV[3]  token
--   ARGV[4]  entry
--   ARGV[5]  expected            the number of the last entry; '' if it does not matter
--   ARGV[6]  keep                older entries than so many are forgotten
--
--   returns {'appended', number}  the same when asked again
--           {'overtaken', last}   the last entry is another than expected
--           {'stale', seen}       a newer token was seen
--           {'gone'}              a later request of the lane was answered before
local guard, journal, memo, token, seq = KEYS[1], KEYS[2], KEYS[3], ARGV[3], tonumber(ARGV[1])
local before, past = string.match(redis.call('GET', memo) or '', '^(%d+) ?(.*)$')
if before and tonumber(before) == seq then return {'appended', past} end
if before and tonumber(before) > seq then return {'gone'} end
local held = redis.call('HMGET', guard, 'seen', 'last')
local seen, last = held[1], held[2] or '0'
if seen and tonumber(token) < tonumber(seen) then return {'stale', seen} end

if ARGV[5] ~= '' and ARGV[5] ~= last then
  if seen ~= token then redis.call('HSET', guard, 'seen', token) end
  return {'overtaken', last}
end
local number = string.format('%.0f', last + 1)
redis.call('XADD', journal, 'MAXLEN', ARGV[6], number .. '-' .. token, 'entry', ARGV[4])
redis.call('HSET', guard, 'seen', token, 'last', number)
redis.call('SET', memo, ARGV[1] .. ' ' .. number, 'PX', ARGV[2])
return {'appended', number}
