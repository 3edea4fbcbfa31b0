"""
A job that many workers want and one at a time does.

Run it in three terminals::

    python examples/one_at_a_time.py

Then find the one that says "working" and kill it (``kill -9``): the next one works
after at most the five seconds of its lease, with a higher token.  Stop it instead
(``kill -STOP``), wait for another to work, and let it go on (``kill -CONT``): it
says that it is too late, and writes nothing.
"""

from __future__ import annotations

import os
import sys
import time

from coordkit import LeaseLost, Session, StaleToken

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")


def main(rounds: int) -> None:
    """Take the lock, work, write through the fence, give it back; so many times."""
    with Session(URL, namespace="example") as session:
        lock, ledger = session.lock("job", ttl=5), session.fence("ledger")
        for _ in range(rounds):
            try:
                with lock.acquire() as lease:
                    print(f"{os.getpid()} working, token {lease.token}", flush=True)
                    time.sleep(1)
                    lease.check()
                    ledger.set("last", str(os.getpid()), token=lease.token)
            except (LeaseLost, StaleToken) as late:
                print(f"{os.getpid()} too late: {late}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
