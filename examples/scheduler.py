"""
A scheduler that runs in many processes, and runs its jobs in one of them at a time.

Run it in three terminals::

    python examples/scheduler.py

Find the one that says "leads" and kill it (``kill -9``): after at most the five seconds
of its term another one leads, with a higher term, and counts on from where the first
stopped.  End it with Ctrl-C or ``kill`` instead, and the next one leads at once.  Stop it
(``kill -STOP``), wait for another to lead, and let it go on (``kill -CONT``): it says that
it leads no more.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from coordkit import Fence, Session, StaleToken, Term, Unreachable

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")
#: Every how many seconds.
JOBS = {"clean up": 0.5, "report": 2.0}


def lead(term: Term, ledger: Fence) -> None:
    """Run each job when it is due, for as long as the term lasts."""
    print(f"{os.getpid()} leads, term {term.token}", flush=True)
    due = dict.fromkeys(JOBS, time.monotonic())
    # The wait for the next job ends at the instant of the loss.
    while not term.lost.wait(max(0.0, min(due.values()) - time.monotonic())):
        name = min(due, key=due.__getitem__)
        due[name] = time.monotonic() + JOBS[name]
        try:
            run(name, term, ledger)
        except (StaleToken, Unreachable) as problem:
            print(f"{os.getpid()} {name}: {problem}", flush=True)
    print(f"{os.getpid()} leads no more: {term.lost.reason}", flush=True)


def run(name: str, term: Term, ledger: Fence) -> None:
    """Count one run, where a leader that comes too late is refused."""
    count = int(ledger.get(name) or 0) + 1
    ledger.set(name, str(count), token=term.token)
    print(f"{os.getpid()} {name}, run {count}", flush=True)


def main() -> None:
    """Stand for election again and again; on Ctrl-C or SIGTERM resign and end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), Session(URL, namespace="example") as session:
        ledger = session.fence("scheduler")
        session.election("scheduler", ttl=5).run(lambda term: lead(term, ledger))


if __name__ == "__main__":
    main()
