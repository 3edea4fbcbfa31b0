-- lock_revoke: ask the holder that was seen to let go; its next renewal is answered with it.
--
--   KEYS[1]  lock        hash    the lease
--   KEYS[2]  holders     zset    shared holders' rids by lease end, server ms
--   KEYS[3]  records     hash    what each shared holder said of itself
--   ARGV[1]  rid                 the holder that was seen; another one is left alone
--   ARGV[2]  why
--
--   returns {'asked'} or {'not held'} by that holder any more
if redis.call('HGET', KEYS[1], 'rid') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'revoke', ARGV[2])
  return {'asked'}
end
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  redis.call('HSET', KEYS[3], 'revoke:' .. ARGV[1], ARGV[2])
  return {'asked'}
end
return {'not held'}
