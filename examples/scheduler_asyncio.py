"""
The scheduler of scheduler.py in asyncio: a task for each job, cancelled with the term.

Run it in three terminals::

    python examples/scheduler_asyncio.py

Find the one that says "leads" and kill it (``kill -9``): after at most the five seconds
of its term another one leads, with a higher term.  End it with Ctrl-C or ``kill`` instead,
and the next one leads at once.  Stop it (``kill -STOP``), wait for another to lead, and
let it go on (``kill -CONT``): its jobs are cancelled, and it says that it leads no more.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from coordkit import AsyncFence, AsyncSession, AsyncTerm, StaleToken, Unreachable

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")
#: Every how many seconds.
JOBS = {"clean up": 0.5, "report": 2.0}


async def lead(term: AsyncTerm, ledger: AsyncFence) -> None:
    """Keep all jobs running until the term is lost, which cancels them."""
    print(f"{os.getpid()} leads, term {term.token}", flush=True)
    try:
        async with asyncio.TaskGroup() as jobs:
            for name in JOBS:
                jobs.create_task(repeat(name, term, ledger))
    finally:
        print(f"{os.getpid()} leads no more: {term.lost.reason}", flush=True)


async def repeat(name: str, term: AsyncTerm, ledger: AsyncFence) -> None:
    """Count its runs, where a leader that comes too late is refused."""
    while True:
        try:
            count = int(await ledger.get(name) or 0) + 1
            await ledger.set(name, str(count), token=term.token)
            print(f"{os.getpid()} {name}, run {count}", flush=True)
        except (StaleToken, Unreachable) as problem:
            print(f"{os.getpid()} {name}: {problem}", flush=True)
        await asyncio.sleep(JOBS[name])


async def main() -> None:
    """Stand for election again and again; on Ctrl-C or SIGTERM resign and end."""
    async with AsyncSession(URL, namespace="example") as session:
        ledger = session.fence("scheduler-asyncio")
        election = session.election("scheduler-asyncio", ttl=5)
        running = asyncio.create_task(election.run(lambda term: lead(term, ledger)))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, running.cancel)
        await running


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main())
