"""
Counters and ids against the bare commands, and pottery's, in one interleaved run.

The floor is INCR, by the client that users have.  Whether a figure is good is for a
reader to judge, on a machine that does nothing else.
"""
