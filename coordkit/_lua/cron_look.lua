-- cron_look: what time it is, who has the lock of a cron, and its last runs.
--
--   KEYS[1]  lock        hash    the lease under which a run is made
--   KEYS[2]  runs        list    rid, tick, attempt, since, ended, state, code, token, identity, spec
--
--   returns {now, rid, run, …}: server ms; who has the lock, or ''; the runs, newest first
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = redis.call('LRANGE', KEYS[2], 0, -1)
table.insert(answer, 1, redis.call('HGET', KEYS[1], 'rid') or '')
table.insert(answer, 1, string.format('%.0f', now))
return answer
