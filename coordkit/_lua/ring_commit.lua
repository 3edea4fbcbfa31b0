-- ring_commit: make one change of a ring, if it is still as it was when the change was made up.
--
--   KEYS[1]  ring.meta    hash    birth, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.nodes   hash    node: weight, zone, capacity, state and meta, one a line
--   KEYS[3]  ring.points  zset    '<last slot of an arc>:<node>' by that slot
--   KEYS[4]  ring.packed  string  the owner of every slot, with a CRC
--   KEYS[5]  ring.log     stream  the last changes, each under the version that it made
--   KEYS[6]  lasting      zset    what the bucket holds that does not expire
--   KEYS[7]  ring.staged  zset    all points then, if they were laid ready
--   ARGV[1]  rid                  the request; every retry carries the same
--   ARGV[2]  birth                of the ring that the change is for
--   ARGV[3]  version              that it had; 0: there is none yet
--   ARGV[4]  packed
--   ARGV[5]  channel
--   ARGV[6]  member               our name in the lasting index
--   ARGV[7]  identity
--   ARGV[8]  change               what it is, in JSON
--   ARGV[9]  moved                how many slots change hands
--   ARGV[10] moves                which, in JSON
--   ARGV[11] ready                how many points were laid ready; 0: those that differ follow
--   ARGV[12] lists                the lengths of the lists that follow
--   and then: fields and values of meta; nodes and records; nodes that go; points that go;
--   scores and points that come
--
--   returns {'committed', version, at}  at: server ms; the same answer when asked again
--           {'changed', version}        it is at another version; 0: there is none
--           {'unready'}                 what was laid ready is not there any more
--   publishes the new version
local meta, nodes, points, packed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local log, lasting, staged, ready = KEYS[5], KEYS[6], KEYS[7], tonumber(ARGV[11])
local unpack = table.unpack or unpack
local version = string.format('%.0f', ARGV[3] + 1)
local id = version .. '-0'

local held = redis.call('HMGET', meta, 'birth', 'version')
local birth = ARGV[3] ~= '0' and ARGV[2]
if held[1] ~= birth or (held[2] or '0') ~= ARGV[3] then
  local made = redis.call('XRANGE', log, id, id)[1]
  if made and made[2][2] == ARGV[1] then return {'committed', version, made[2][4]} end
  return {'changed', held[2] or '0'}
end
-- A key of another kind ends it here, while nothing is written yet.
redis.call('HLEN', nodes)
redis.call('STRLEN', packed)
redis.call('ZCARD', points)
redis.call('ZCARD', lasting)
if ready > 0 and redis.call('ZCARD', staged) ~= ready then return {'unready'} end

local time = redis.call('TIME')
local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- First of all writes: the server refuses it when memory is full, or the log is ahead.
redis.call('XADD', log, 'MAXLEN', 128, id, 'rid', ARGV[1], 'at', at, 'by', ARGV[7],
  'change', ARGV[8], 'moved', ARGV[9], 'moves', ARGV[10])
redis.call('SET', packed, ARGV[4])

local next_one, lengths = 13, string.gmatch(ARGV[12], '%d+')
-- The next list, in parts that Lua can pass at once.
local function parts()
  local first = next_one
  next_one = first + lengths()
  local ends = next_one
  return function()
    if first >= ends then return end
    local from = first
    first = math.min(from + 4000, ends)
    return from, first - 1
  end
end
for from, to in parts() do redis.call('HSET', meta, unpack(ARGV, from, to)) end
for from, to in parts() do redis.call('HSET', nodes, unpack(ARGV, from, to)) end
for from, to in parts() do redis.call('HDEL', nodes, unpack(ARGV, from, to)) end
for from, to in parts() do redis.call('ZREM', points, unpack(ARGV, from, to)) end
for from, to in parts() do redis.call('ZADD', points, unpack(ARGV, from, to)) end
if ready > 0 then
  redis.call('UNLINK', points) -- or renaming would free them all, here and now
  redis.call('RENAME', staged, points)
  redis.call('PERSIST', points)
end
redis.call('ZADD', lasting, '+inf', ARGV[6])
redis.call('PUBLISH', ARGV[5], version)
return {'committed', version, at}
