"""
Workers that share the accounts of a shop: each account is worked on by one at a time.

Run it in three terminals::

    python examples/partitioned_pool.py

Each says which accounts are its own, as soon as somebody comes or goes, and counts in each
of them.  Kill one (``kill -9``): others go on with its accounts after at most the five
seconds of its ttl.  Start it again with its name (the second word on its lines) within a
minute, and it gets back the accounts that it had.  End it with Ctrl-C or ``kill``: they
are handed over at once.  Stop it (``kill -STOP``), wait for the others, and let it go on
(``kill -CONT``): what it was about to write is refused.

No account has two owners at one instant.  A worker that is told of what is revoked ends
what it is at before it asks for more: then, and not sooner, another begins.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from coordkit import Assigned, LiveNode, Session, StaleToken, Unreachable

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")
ACCOUNTS = [f"account-{n}" for n in range(24)]


class Worker:
    """One process: a node of the ring that says whose each account is."""

    def __init__(self, session: Session, me: LiveNode) -> None:
        self.session = session
        self.me = me
        #: held while one account is worked on, and by who hands over
        self.busy = threading.Lock()

    def listen(self) -> None:
        """Say what is its own; let nothing go that is being worked on."""
        for change in self.me.changes():
            with self.busy:  # what was begun has ended
                mine = [a[8:] for a in ACCOUNTS if self.me.owns(a)]
            what = "assigned" if isinstance(change, Assigned) else "revoked"
            print(f"{self.me.identity} {what}, mine are {' '.join(mine)}", flush=True)

    def work(self) -> None:
        """Go through the accounts, again and again."""
        while True:
            for account in ACCOUNTS:
                with self.busy:
                    self.count(account)
            time.sleep(0.05)

    def count(self, account: str) -> None:
        """Count in an account, if it is its own, under the token that makes it so."""
        token = self.me.token_of(account)
        if token is None:
            return
        try:
            ledger = self.session.fence(account)
            count = int(ledger.get("count") or 0) + 1
            ledger.set("count", str(count), token=token)
        except StaleToken:
            print(f"{self.me.identity} too late for {account}", flush=True)
        except Unreachable as exc:
            print(f"{self.me.identity} no answer: {exc}", flush=True)


def main(name: str) -> None:
    """Be a node of the ring, and work; on Ctrl-C or SIGTERM hand over and end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), Session(URL, namespace="example") as session:
        with session.ring("accounts").join(name, ttl=5, grace=60) as me:
            worker = Worker(session, me)
            listener = threading.Thread(target=worker.listen, daemon=True)
            listener.start()
            with suppress(KeyboardInterrupt):
                worker.work()
        listener.join()  # there are no changes any more: it has left


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else f"worker-{os.getpid()}")
