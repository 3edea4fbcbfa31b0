"""
The guard of `coordkit lock run`: that nothing outlives its lease, and what it costs.

Each trial starts the installed program in processes of its own, does something bad to
one of them or to the server, and looks at the command's process group until nobody
runs any more.  That is seen some milliseconds late, never early.
"""
