-- sandbox: what Redis shows to a script, and nothing else.
--
--   is given (report, sha1hex, encode, decode), Python functions; report(text) notes a bug
--   returns  compile(source, name), run(invoke, script, key_count, key …, arg …) and
--            spell(value): the reply that a value makes, as kind, part …; kinds are
--            'value', value; 'error', text; 'list', size, item …
--
-- One interpreter serves every simulated server, so nothing a script can reach is writable.
local report, sha1hex, encode, decode = ...
local invoke -- (command, arg …) of the store whose script runs; its answers: see `settle`

local function bug(text)
  report(text)
  error(text, 0)
end

local function protect(library, missing)
  return setmetatable({}, {
    __index = setmetatable(library, missing and {__index = missing}),
    __newindex = function(_, name) bug('Attempt to modify a readonly table: ' .. tostring(name)) end,
  })
end

-- true, item … is a list; nil, field, text is a status or an error; all else is itself.
local function settle(head, ...)
  if head == true then return {...} end
  if head == nil then
    local field, text = ...
    return {[field] = text}
  end
  return head
end

local function raise_refusals(reply)
  if type(reply) == 'table' and reply.err then error(reply, 0) end
  return reply
end

local redis = {LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3}
function redis.call(...) return raise_refusals(settle(invoke(...))) end
function redis.pcall(...) return settle(invoke(...)) end
function redis.status_reply(text) return {ok = text} end
function redis.error_reply(text)
  text = string.gsub(text, '^%-', '')
  return {err = string.find(text, ' ') and text or 'ERR ' .. text}
end
function redis.sha1hex(text) return sha1hex(text) end
function redis.log() end
function redis.replicate_commands() return true end

-- A refusal of the server may be caught, as its text; anything else is a bug all the same.
local function told(ran, ...)
  if ran then return ran, ... end
  local why = ...
  if type(why) == 'table' and why.err then return false, why.err end
  report(tostring(why))
  return false, why
end
local function guarded(...) return told(pcall(...)) end

local function only(library, names)
  local shown = {}
  for name in string.gmatch(names, '%S+') do shown[name] = library[name] end
  return protect(shown)
end

local base = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = guarded,
  select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
  string = only(string, 'byte char find format gmatch gsub len lower match rep reverse sub upper'),
  table = only(table, 'concat insert maxn remove sort'),
  math = only(math, 'abs ceil exp floor fmod huge log log10 max min modf pow sqrt'),
  cjson = protect({encode = function(v) return encode(v) end, decode = function(v) return decode(v) end}),
  redis = protect(redis),
}
local environment = protect(base, function(_, name)
  bug("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'")
end)

local function compile(source, name)
  local script, why = loadstring('local KEYS, ARGV = ... ' .. source, '=' .. name)
  if not script then error(why, 0) end
  return setfenv(script, environment)
end

local function spell(value)
  if type(value) ~= 'table' then return 'value', value end
  if value.err then return 'error', value.err end
  if value.ok then return 'value', value.ok end
  local size = 0
  while value[size + 1] ~= nil do size = size + 1 end
  return 'list', size, unpack(value, 1, size)
end

local function run(store, script, key_count, ...)
  local all = {...}
  invoke = store
  local ran, value = pcall(script, {unpack(all, 1, key_count)}, {unpack(all, key_count + 1)})
  invoke = nil
  if not ran and (type(value) ~= 'table' or not value.err) then
    report(tostring(value))
    return 'value', nil
  end
  return spell(value)
end

return compile, run, spell
