-- ids_take: hand out a block of ids that nobody had before.
--
--   KEYS[1]  ids      string  the highest id that was handed out
--   ARGV[1]  block            how many
--   ARGV[2]  start            none below this one
--
--   returns {'taken', last}    the block ends with last
--           {'bounds', last}   there are not so many left
--           {'conflict'}       the key holds something else
local last = redis.call('GET', KEYS[1]) or '0'
if not string.find(last, '^%d+$') then return {'conflict'} end
local ends = math.max(tonumber(last), ARGV[2] - 1) + ARGV[1]
-- The last integer that doubles, and JSON, tell from the one after it.
if ends > 9007199254740991 then return {'bounds', last} end
redis.call('SET', KEYS[1], string.format('%.0f', ends))
return {'taken', string.format('%.0f', ends)}
