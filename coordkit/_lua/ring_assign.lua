-- ring_assign: the node that has this key, or the first after its slot that can take one more.
--
--   KEYS[1]  ring.meta      hash    birth, floor, version, slots, hash, format, mode, replicas, nodes, weight, capacity
--   KEYS[2]  ring.nodes     hash    node: weight, zone, capacity, state and meta, one a line
--   KEYS[3]  ring.points    zset    '<last slot of an arc>:<node>' by that slot
--   KEYS[4]  ring.assigned  hash    key: the node that has it
--   KEYS[5]  ring.loads     hash    node: how many keys it has
--   ARGV[1]  key
--   ARGV[2]  fine                   the slot, were there 2^20 of them
--   ARGV[3]  c                      how far above its fair share a node may be loaded
--
--   returns {'assigned', node}          the same one until it is released, or the node is gone
--           {'overloaded', load, most}  so many keys are assigned, so many are allowed
--           {'none'}                    there is no such ring, or it has no nodes
local nodes, points, assigned, loads = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local key, c = ARGV[1], tonumber(ARGV[3])

local before = redis.call('HGET', assigned, key)
if before and redis.call('HEXISTS', nodes, before) == 1 then return {'assigned', before} end
local held = redis.call('HMGET', KEYS[1], 'weight', 'capacity', 'nodes', 'slots')
local weights, number = tonumber(held[1] or 0), tonumber(held[3] or 0)
if weights == 0 then return {'none'} end
local load = redis.call('HLEN', assigned) - (before and 1 or 0)
local most = tonumber(held[2] or '') -- of all nodes together, if each has said what it takes
if most and c * (load + 1) > most then
  return {'overloaded', load, string.format('%.0f', math.floor(most / c))}
end

local function has_room(node, fairly)
  local record = redis.call('HGET', nodes, node) or ''
  local weight, capacity = string.match(record, '^([^\n]*)\n[^\n]*\n([^\n]*)\nactive\n')
  if not weight then return false end
  local has = tonumber(redis.call('HGET', loads, node) or 0)
  if capacity ~= '' and has >= tonumber(capacity) then return false end
  return not fairly or has < math.ceil(c * weight / weights * (load + 1))
end

-- Walk on from the slot, over its end to its beginning, past each node once.
local slot = string.format('%.0f', math.floor(ARGV[2] * held[4] / 1048576))
local function walk(fairly)
  local seen, met, offset, from, to = {}, 0, 0, slot, '+inf'
  while met < number do
    local page = redis.call('ZRANGEBYSCORE', points, from, to, 'LIMIT', offset, 64)
    for _, point in ipairs(page) do
      local node = string.match(point, '^%d+:(.*)$')
      if not seen[node] then
        seen[node], met = true, met + 1
        if has_room(node, fairly) then return node end
      end
    end
    offset = offset + 64
    if #page < 64 then
      if from == '-inf' then return end
      from, to, offset = '-inf', '(' .. slot, 0
    end
  end
end

-- Capacities may be such that nobody's fair share has room: then those alone count.
local node = walk(true) or walk(false)
if not node then return {'overloaded', load, load} end
if before and redis.call('HINCRBY', loads, before, -1) <= 0 then redis.call('HDEL', loads, before) end
redis.call('HSET', assigned, key, node)
redis.call('HINCRBY', loads, node, 1)
return {'assigned', node}
