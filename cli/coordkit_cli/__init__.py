"""
The command line of coordkit: the console script `coordkit`.

A noun a file; each is imported when its command is typed, and imports the library
when it runs: so `--help` answers at once, without Redis.
"""

from __future__ import annotations

import gc

# Programs that end at once allocate much while they import, and leave no garbage.
gc.set_threshold(100_000)
