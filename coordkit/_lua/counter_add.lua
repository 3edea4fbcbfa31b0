-- counter_add: add to counters, once for their request; one that is refused disturbs no other.
--
--   KEYS[1]      memo     string  the last request of this lane, and what it was answered
--   KEYS[2*i]    counter  hash    value, seen: the highest token admitted, shards: how many, if several
--   KEYS[2*i+1]  lasting  zset    what the bucket holds that does not expire
--   ARGV[1]      seq              the request; every retry carries the same, later ones a higher one
--   ARGV[2]      memo_ms          for so long a retry may come
--   ARGV[3]      token            '' if it is not fenced
--   ARGV[5*i-1]  amount
--   ARGV[5*i]    least            what the counter must have before it is added to, at least
--   ARGV[5*i+1]  most             and at most: so the sum is in its bounds, and in 64 bits
--   ARGV[5*i+2]  shards           how many it has; '' if one that has none is meant, or any there is
--   ARGV[5*i+3]  member           our name in the lasting index; of a shard but the first: '' if it must
--                                 be there already, '+' if it may be made
--
--   returns {verdict, number, …} for each, the same when asked again: 'added' and its value;
--           'stale' and the highest token; 'bounds' and its value; 'shards' and how many it has;
--           'absent': that shard is not there; 'conflict': it is none of ours
--           {'gone'}  a later request of the lane was answered before
local memo, token, seq = KEYS[1], ARGV[3], tonumber(ARGV[1])
local answers = {}
local last, past = string.match(redis.call('GET', memo) or '', '^(%d+) ?(.*)$')
if last and tonumber(last) > seq then return {'gone'} end
if last and tonumber(last) == seq then
  for word in string.gmatch(past, '%S+') do answers[#answers + 1] = word end
  return answers
end

-- Whether a is less than b, both integers as they are written: doubles would not be exact.
local function less(a, b)
  local negative = string.byte(a) == 45
  if negative ~= (string.byte(b) == 45) then return negative end
  if #a ~= #b then return (#a < #b) ~= negative end
  return a ~= b and (a < b) ~= negative
end

local function add(i)
  local counter, lasting, amount, shards, member = KEYS[2*i], KEYS[2*i+1], ARGV[5*i-1], ARGV[5*i+2], ARGV[5*i+3]
  local held = redis.pcall('HMGET', counter, 'value', 'seen', 'shards')
  if held.err then
    if redis.call('TYPE', counter).ok ~= 'hash' then return 'conflict', '0' end
    redis.call('HMGET', counter, 'value') -- it is something else: let the server say so
  end
  local value, seen, agreed = held[1], held[2], held[3]
  local wanted = shards == '' and '1' or shards
  agreed = agreed or value and '1' or wanted
  -- Of a counter that was deleted the number is remembered, and may be another from now on.
  if agreed ~= wanted and (value or shards == '') then return 'shards', agreed end
  if not value and member == '' then return 'absent', '0' end
  if token ~= '' and seen and tonumber(token) < tonumber(seen) then return 'stale', seen end
  local before = value or '0'
  if not string.find(before, '^-?%d+$') then return 'conflict', '0' end
  if less(before, ARGV[5*i]) or less(ARGV[5*i+1], before) then return 'bounds', before end

  if not value then -- first of all writes: when memory is full the server refuses it
    local kind = redis.call('TYPE', lasting).ok
    if kind ~= 'zset' and kind ~= 'none' then return 'conflict', '0' end
    if member ~= '+' then redis.call('ZADD', lasting, '+inf', member) end
    if wanted ~= '1' then redis.call('HSET', counter, 'shards', wanted) end
    if wanted == '1' and agreed ~= '1' then redis.call('HDEL', counter, 'shards') end
  end
  local now = redis.call('HINCRBY', counter, 'value', amount)
  if not value then redis.call('PERSIST', counter) end
  if token ~= '' and seen ~= token then redis.call('HSET', counter, 'seen', token) end
  if math.abs(now) < 9007199254740992 then return 'added', string.format('%.0f', now) end
  return 'added', redis.call('HGET', counter, 'value') -- as a number it has lost its last digits
end

for i = 1, (#KEYS - 1) / 2 do answers[2*i-1], answers[2*i] = add(i) end
-- A no is remembered like a yes: a straggler must not turn it into one. But who asked the wrong
-- shard asks on, for the same request.
if #KEYS > 3 or (answers[1] ~= 'shards' and answers[1] ~= 'absent') then
  redis.call('SET', memo, ARGV[1] .. ' ' .. table.concat(answers, ' '), 'PX', ARGV[2])
end
return answers
