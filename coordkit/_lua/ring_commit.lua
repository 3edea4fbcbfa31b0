-- ring_commit: make one change of a ring, if it is still as it was when the change was made up.
--
--   KEYS[1]  ring.meta    hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.nodes   hash    node: weight, zone, capacity, state and meta, one a line
--   KEYS[3]  ring.points  zset    '<last slot of an arc>:<node>' by that slot
--   KEYS[4]  ring.packed  string  the owner of every slot, with a CRC
--   KEYS[5]  ring.log     stream  the last changes, each under the version that it made
--   KEYS[6]  lasting      zset    what the bucket holds that does not expire
--   KEYS[7]  ring.staged  zset    all points then, if they were laid ready
--   KEYS[8]  ring.live    hash    of the group of live nodes: 'id:' and node: rid
--   KEYS[9]  ring.live.alive  zset  live nodes' rids by liveness deadline, server ms
--   KEYS[10] fence        string  last token handed out in the bucket
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
--   ARGV[12] holder               rid of the live node that asks; '' if it is none
--   ARGV[13] lists                the lengths of the lists that follow
--   and then: nodes that lose slots; fields and values of meta; nodes and records; nodes that
--   go; points that go; scores and points that come
--
--   returns {'committed', version, at, floor}  at: server ms; floor: what epochs count from;
--                                       the same answer when asked again
--           {'changed', version}        it is at another version; 0: there is none
--           {'alive', node}             that node lives, and has not handed over what it loses
--           {'unready'}                 what was laid ready is not there any more
--   publishes the new version
local meta, nodes, points, packed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local log, lasting, staged, live = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local alive, fence, ready = KEYS[9], KEYS[10], tonumber(ARGV[11])
local unpack = table.unpack or unpack
local version = string.format('%.0f', ARGV[3] + 1)
local id = version .. '-0'

local held = redis.call('HMGET', meta, 'birth', 'version', 'floor')
local birth = ARGV[3] ~= '0' and ARGV[2]
if held[1] ~= birth or (held[2] or '0') ~= ARGV[3] then
  local made = redis.call('XRANGE', log, id, id)[1]
  if made and made[2][2] == ARGV[1] then return {'committed', version, made[2][4], held[3]} end
  return {'changed', held[2] or '0'}
end
-- A key of another kind ends it here, while nothing is written yet.
redis.call('HLEN', nodes)
redis.call('STRLEN', packed)
redis.call('ZCARD', points)
redis.call('ZCARD', lasting)
if ready > 0 and redis.call('ZCARD', staged) ~= ready then return {'unready'} end

local next_one, lengths = 14, string.gmatch(ARGV[13], '%d+')
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
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%.0f', now)
-- What a process holds, that process hands over, or its lease has passed.
for from, to in parts() do
  for _, node in ipairs({unpack(ARGV, from, to)}) do
    local rid = redis.call('HGET', live, 'id:' .. node)
    if rid and rid ~= ARGV[12] and tonumber(redis.call('ZSCORE', alive, rid) or 0) > now then
      return {'alive', node}
    end
  end
end
local floor = held[3]
if not floor then
  local last = redis.call('GET', fence)
  floor = string.format('%.0f', math.max(time[1] * 1000000 + time[2], (last or 0) + 1))
end

-- First of all writes: the server refuses it when memory is full, or the log is ahead.
redis.call('XADD', log, 'MAXLEN', 128, id, 'rid', ARGV[1], 'at', at, 'by', ARGV[7],
  'change', ARGV[8], 'moved', ARGV[9], 'moves', ARGV[10])
redis.call('SET', packed, ARGV[4])
redis.call('HSET', meta, 'floor', floor)
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
return {'committed', version, at, floor}
