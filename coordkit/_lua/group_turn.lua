-- group_turn: take the next turn of all who pick among the members of a group.
--
--   KEYS[1]  turn     string  how many turns were taken
--   ARGV[1]  idle_ms          it is forgotten when nobody takes one for so long
--
--   returns {'turn', number}
local turn = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {'turn', string.format('%.0f', turn)}
