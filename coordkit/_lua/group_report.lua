-- group_report: store what a member says of itself, and tell the others if it is new.
--
--   KEYS[1]  group       hash    birth, version; rid: token, since, ttl, seq and record, one a
--                                line; 'id:' and identity: rid; 'pace:' and rid: ms
--   KEYS[2]  alive       zset    members' rids by liveness deadline, server ms
--   KEYS[3]  log         stream  the last changes, each under the version that it made
--   ARGV[1]  rid
--   ARGV[2]  seq                 of the record; one that is not higher comes too late
--   ARGV[3]  record              identity, zone, weight, capacity, state, load and meta, one a line
--   ARGV[4]  channel
--
--   returns {'reported'}         also when asked again
--           {'gone'}             it is no member, or no longer
local group, alive, log, rid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.call('HGET', group, rid)
if not stored or tonumber(redis.call('ZSCORE', alive, rid) or 0) <= now then return {'gone'} end
local since, seq, record = string.match(stored, '^(%d+\n%d+\n%d+\n)(%d+)\n(.*)$')
if tonumber(ARGV[2]) <= tonumber(seq) then return {'reported'} end

redis.call('XLEN', log) -- of another kind, it ends here: nothing is written
stored = since .. ARGV[2] .. '\n' .. ARGV[3]
redis.call('HSET', group, rid, stored)
if record ~= ARGV[3] then
  local version = string.format('%.0f', redis.call('HINCRBY', group, 'version', 1))
  redis.call('XADD', log, 'MAXLEN', 1024, version .. '-0',
    'what', 'changed', 'rid', rid, 'record', stored)
  redis.call('PUBLISH', ARGV[4], version)
end
return {'reported'}
