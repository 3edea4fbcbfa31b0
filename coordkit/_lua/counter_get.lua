-- counter_get: what counters, or the shards of one, have at this moment.
--
--   KEYS[i]  counter  hash  value, seen: the highest token admitted, shards: how many, if several
--
--   returns {value, seen, shards, …}, each as it is written, or '' where there is none
local answer = {}
for i = 1, #KEYS do
  local held = redis.call('HMGET', KEYS[i], 'value', 'seen', 'shards')
  for n = 1, 3 do answer[3*i + n - 3] = held[n] or '' end
end
return answer
