-- cron_end: write down how the last run ended.
--
--   KEYS[1]  runs        list    rid, tick, attempt, since, ended, state, code, token, identity, spec
--   ARGV[1]  rid                 the run's
--   ARGV[2]  state               what became of it
--   ARGV[3]  code                what it ended with
--   ARGV[4]  kept_ms             for so long runs are kept
--
--   returns {'ended'}            also when asked again
--           {'gone'}             it is not the last run, or there is none
local runs, rid = KEYS[1], ARGV[1]
local last = redis.call('LRANGE', runs, 0, 0)[1] or ''
if string.sub(last, 1, #rid + 1) ~= rid .. '\n' then return {'gone'} end
local begun, rest = string.match(last, '^(.-\n%d+\n%d+\n%d+\n)\nrunning\n\n(.*)$')
if not begun then return {'ended'} end
local time = redis.call('TIME')
local ended = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- First what runs when memory is full: after it the server lets the rest of the script write.
redis.call('PEXPIRE', runs, ARGV[4])
redis.call('LSET', runs, 0, begun .. table.concat({ended, ARGV[2], ARGV[3], rest}, '\n'))
return {'ended'}
