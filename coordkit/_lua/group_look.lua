-- group_look: the members of a group, or what has changed since a version; buries the silent first.
--
--   KEYS[1]  group       hash    birth, version; rid: token, since, ttl, seq and record, one a
--                                line; 'id:' and identity: rid; 'pace:' and rid: ms
--   KEYS[2]  alive       zset    members' rids by liveness deadline, server ms
--   KEYS[3]  log         stream  the last changes, each under the version that it made
--   ARGV[1]  birth               of the group that is known, '0': there was none; '' to ask for all
--   ARGV[2]  version             that is known
--   ARGV[3]  channel
--
--   returns {'changes', birth, version, now, next_ms, changes}
--           {'members', birth, version, now, next_ms, fields, deadlines}  when these are asked
--           for, or the changes are not known any more; fields: all of the hash; deadlines: rid
--           and server ms; next_ms: until the next one would die, -1 is nobody
local group, alive, log = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Where the group was evicted there is nobody to bury: they join again, and it is born anew.
local born = redis.call('HEXISTS', group, 'version') == 1
local dead = born and redis.call('ZRANGEBYSCORE', alive, '-inf', now, 'LIMIT', 0, 1000) or {}
local of, buried = #dead > 0 and redis.call('ZCARD', alive), nil
for _, rid in ipairs(dead) do
  local identity = string.match(redis.call('HGET', group, rid) or '', '^%d+\n%d+\n%d+\n%d+\n([^\n]*)')
  redis.call('ZREM', alive, rid)
  redis.call('HDEL', group, rid, 'pace:' .. rid, 'id:' .. (identity or ''))
  buried = string.format('%.0f', redis.call('HINCRBY', group, 'version', 1))
  redis.call('XADD', log, 'MAXLEN', 1024, buried .. '-0',
    'what', 'died', 'rid', rid, 'record', '', 'together', #dead, 'of', of)
end
if buried then redis.call('PUBLISH', ARGV[3], buried) end

local held = redis.call('HMGET', group, 'birth', 'version')
local birth, version = held[1] or '0', held[2] or '0'
local first = born and redis.call('ZRANGE', alive, 0, 0, 'WITHSCORES')[2]
local next_ms = first and math.max(first - now, 0) or -1
local since = ARGV[1] == birth and ARGV[2] or '0'
if ARGV[1] == birth or ARGV[1] == '0' then
  local changes = redis.call('XRANGE', log, '(' .. since .. '-0', '+')
  if #changes == version - since then
    return {'changes', birth, version, now, next_ms, changes}
  end
end
local deadlines = redis.call('ZRANGE', alive, 0, -1, 'WITHSCORES')
return {'members', birth, version, now, next_ms, redis.call('HGETALL', group), deadlines}
