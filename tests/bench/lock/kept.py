"""One process keeps many leases for a while."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from coordkit import Lease, Session
from support.processes import worker
from support.servers import RedisServer

from ..report import Bar, Report, Row
from . import contestants as who
from .sizes import Sizes

#: How often it is looked at, in seconds: looking is work, too.
_LOOK = 5.0


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add what keeping costs, and fail the run when a lease is lost."""
    leases, ttl, seconds = sizes.leases, sizes.lease_ttl, sizes.lease_seconds
    with worker(keep, server.url, leases, ttl, seconds) as child:
        status = child.wait(seconds + 120.0)
        said = child.output()
        if status:
            raise AssertionError(f"the keeping process ended with {status}:\n{said}")
    seen = json.loads(said.strip().splitlines()[-1])
    if seen["lost"]:
        report.violations.append(f"{seen['lost']} of {leases} leases were lost")
    at = f"{leases} leases of {ttl:g} s, kept {seconds:g} s"
    for what, unit, figure, bar in (
        ("threads", "", "threads", Bar(2)),
        ("script calls", "1/s", "calls", Bar(60)),
        ("lost", "", "lost", Bar(0)),
        ("memory a lease", "KiB", "kib", Bar(4)),
        ("processor time", "% of a core", "cpu", None),
        ("least time left", "s", "left", None),
    ):
        row = Row(f"{at}: {what}", unit, {who.OURS: seen[figure]}, bar=bar)
        report.rows.append(row)


def keep(url: str, number: int, ttl: float, seconds: float) -> None:
    """Take so many leases, keep them for so long, and print what it took."""
    client = who.client(url)
    with Session(url) as session:
        session.lock("bench:first", ttl=ttl).acquire().release()  # starts the keeper
        before = _resident()
        names = (f"bench:kept:{index}" for index in range(number))
        leases = [session.lock(name, ttl=ttl).acquire() for name in names]
        memory = (_resident() - before) / number
        began, cpu, calls = time.monotonic(), time.process_time(), _calls(client)
        threads, left = 0, ttl
        while (now := time.monotonic()) < began + seconds:
            time.sleep(min(_LOOK, began + seconds - now))
            threads = max(threads, threading.active_count())
            left = min(left, *(lease.remaining() for lease in leases))
        took = time.monotonic() - began
        seen = {
            "threads": threads,
            "calls": (_calls(client) - calls) / took,
            "cpu": (time.process_time() - cpu) / took * 100,
            "left": left,
            "kib": memory,
            "lost": _lost(session, leases),
        }
        print(json.dumps(seen))
    client.close()


def _lost(session: Session, leases: list[Lease]) -> int:
    """Count the leases that have ended, or that the server gave to somebody else."""
    there = {info.name: info.token for info in session.locks()}
    return sum(
        not (each.held and there.get(each.name) == each.token) for each in leases
    )


def _calls(client: Any) -> int:
    """Return how many scripts the server has run since its start."""
    stats: dict[str, Any] = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in _SCRIPTS)


_SCRIPTS = ("eval", "evalsha")


def _resident() -> float:
    """Return this process's resident memory in KiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:  # not Linux
        asked = ["ps", "-o", "rss=", "-p", str(os.getpid())]
        return float(subprocess.check_output(asked))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
