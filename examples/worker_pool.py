"""
Workers that share twelve jobs among all who are there.

Run it in three terminals::

    python examples/worker_pool.py

Each says which jobs are its own, as soon as somebody comes or goes.  Kill one
(``kill -9``): after at most the five seconds of its silence the others share its jobs.
End it with Ctrl-C or ``kill`` instead: they do at once.  Stop it (``kill -STOP``): it is
taken for dead; let it go on (``kill -CONT``): it joins again, and gets a share again.

For a moment two may see the group differently, and have one job both.  What must not be
done twice, let it be done under a lock of the job's name.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from coordkit import Died, Joined, Left, Members, Session, Suspended

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")
JOBS = range(12)


def mine(me: str, there: set[str]) -> list[int]:
    """Return the jobs of one worker: they are dealt out by name, so that all agree."""
    ranked = sorted(there)
    return [job for job in JOBS if ranked and ranked[job % len(ranked)] == me]


def main() -> None:
    """Be there, watch who else is, and say so; on Ctrl-C or SIGTERM leave and end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    me, there = f"worker {os.getpid()}", set[str]()
    with suppress(KeyboardInterrupt), Session(URL, namespace="example") as session:
        group = session.group("pool", ttl=5)
        with group.join(me):
            for event in group.watch():
                if isinstance(event, Members):
                    there = {member.identity for member in event}
                elif isinstance(event, Joined):
                    there.add(event.member.identity)
                elif isinstance(event, Left | Died):
                    there.discard(event.member.identity)
                elif isinstance(event, Suspended):
                    print(f"{me}: no answer, {event.why}", flush=True)
                    continue
                shown = f"{len(there)} are there, mine are {mine(me, there)}"
                print(f"{me}: {shown}", flush=True)


if __name__ == "__main__":
    main()
