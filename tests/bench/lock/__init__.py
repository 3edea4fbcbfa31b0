"""
Locks: a cycle, many tasks, hand-over between processes, ten thousand leases, keys left.

The floors are what the same answers cost without a lock around them: a bare
``SET NX PX`` and a deletion by script for the cycle, ``BLPOP`` and ``RPUSH`` for the
hand-over.  Peers are measured by their documented use, with a lease of 30 s, on
clients of redis-py that repeat nothing; hiredis parses for everybody.
"""
