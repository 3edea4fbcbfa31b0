-- fence_read: entries of the journal, the oldest first.
--
--   KEYS[1]  journal     stream  the entries, each under '<number>-<token>'
--   ARGV[1]  first               from this number on
--   ARGV[2]  limit               so many at most
--
--   returns {id, entry, …}
local answer = {}
for _, found in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  answer[#answer + 1] = found[1]
  answer[#answer + 1] = found[2][2]
end
return answer
