-- counter_set: give a counter a value, or take it away, and with it what its shards have.
--
--   KEYS[1]    memo     string  the last request of this lane, and what it was answered
--   KEYS[2]    lasting  zset    what the bucket holds that does not expire
--   KEYS[i+2]  counter  hash    value, seen: the highest token admitted, shards: how many, if several;
--                               the first one gets the value
--   ARGV[1]    seq              the request; every retry carries the same, later ones a higher one
--   ARGV[2]    memo_ms          for so long a retry may come
--   ARGV[3]    token            '' if it is not fenced
--   ARGV[4]    value            '' to take it away
--   ARGV[5]    shards           how many it has; '' if one that has none is meant, or any there is
--   ARGV[6]    member           our name in the lasting index
--   ARGV[7]    kept_ms          for so long the token and the shards of what is deleted are known
--
--   returns {'set', number, …}  what each had, 0 if there was none; the same when asked again
--           {'stale', seen}, {'shards', number}  refused: that is the highest token, the number of shards
--           {'conflict'}        it is none of ours
--           {'gone'}            a later request of the lane was answered before
local memo, lasting, token, seq = KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[1])
local answer = {'set'}
local last, past = string.match(redis.call('GET', memo) or '', '^(%d+) ?(.*)$')
if last and tonumber(last) > seq then return {'gone'} end
if last and tonumber(last) == seq then
  for word in string.gmatch(past, '%S+') do answer[#answer + 1] = word end
  return answer
end

-- All are read before one is written: one of another kind ends it here.
local wanted = ARGV[5] == '' and '1' or ARGV[5]
for i = 1, #KEYS - 2 do
  local held = redis.call('HMGET', KEYS[i+2], 'value', 'seen', 'shards')
  local value, seen, agreed = held[1], held[2], held[3] or held[1] and '1' or wanted
  if agreed ~= wanted and (value or ARGV[5] == '') then return {'shards', agreed} end
  if token ~= '' and seen and tonumber(token) < tonumber(seen) then return {'stale', seen} end
  if value and not string.find(value, '^-?%d+$') then return {'conflict'} end
  answer[i + 1] = value or '0'
end
redis.call('ZCARD', lasting)

for i = 1, #KEYS - 2 do
  local counter, stays = KEYS[i+2], i == 1 and ARGV[4] ~= ''
  if stays then
    redis.call('ZADD', lasting, '+inf', ARGV[6])
    redis.call('HSET', counter, 'value', ARGV[4])
    if wanted == '1' then redis.call('HDEL', counter, 'shards') else redis.call('HSET', counter, 'shards', wanted) end
  else -- also where memory is full: after this write the server lets the rest pass
    redis.call('HDEL', counter, 'value')
    if i == 1 then redis.call('ZREM', lasting, ARGV[6]) end
  end
  if token ~= '' then redis.call('HSET', counter, 'seen', token) end
  if stays then redis.call('PERSIST', counter) else redis.call('PEXPIRE', counter, ARGV[7]) end
end
redis.call('SET', memo, ARGV[1] .. ' ' .. table.concat(answer, ' ', 2), 'PX', ARGV[2])
return answer
