"""
On which cores client and server run.

A question and its answer cost twice as much between two cores, each asleep while the
other works, as on one; where the scheduler puts them is decided by chance, for seconds.
So a figure of single questions is measured in both ways, and each is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

APART, TOGETHER, ANYWHERE = "two cores", "one core", "any core"


def placements() -> list[str]:
    """Return the placements that this machine can be told to use."""
    if sys.platform != "linux":
        return [ANYWHERE]
    return [APART, TOGETHER] if len(os.sched_getaffinity(0)) > 1 else [TOGETHER]


@contextmanager
def placed(placement: str, server: int) -> Generator[None]:
    """Keep this thread, with those that it starts, and the process *server* so placed."""
    if placement == ANYWHERE or sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    first, last = min(cores), max(cores)
    os.sched_setaffinity(0, {first})
    os.sched_setaffinity(server, {last if placement == APART else first})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        os.sched_setaffinity(server, cores)
