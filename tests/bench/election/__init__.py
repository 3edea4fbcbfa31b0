"""
Elections and groups: fail-over, hand-over, what waiting costs, deaths seen, heartbeats.

Peers by their documented use: tooz asks ten times a second, as the loop of its manual
does, and redis-py's lock as often while it waits; their leaders renew.  What both are
measured by is what coordkit promises: who leads next acts within the ttl and 0.5 s of
a leader's crash, and within three hand-overs of the lock when it resigns.
"""
