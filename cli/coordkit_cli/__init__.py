"""
The command line of coordkit: the console script `coordkit`.

A noun a file; each is imported when its command is typed, and imports the library
when it runs: so `--help` answers at once, without Redis.
"""
