"""Processes that all want to lead: how fast a leadership that is resigned goes round."""

from __future__ import annotations

from support.servers import RedisServer

from ..lock import contestants as locks
from ..lock.grants import Grant, overlaps
from ..lock.handover import turn_seen
from ..lock.workers import NAME, Maker, Turn, Workers
from ..report import OURS, Bar, Report, compared
from ..rounds import Samples, turns
from . import contestants as who
from .sizes import Sizes

#: Connections and scripts are made in the first turn, which is not counted.
_FIRST = 0.2


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a row for each number of processes, as of the lock's hand-over in the same run."""
    for waiters in sizes.waiters:
        p50 = _race(server, waiters, sizes, report)
        what = f"resigned, {waiters} processes: the next acts after, p50"
        report.rows.append(compared(what, "µs", p50, who.LOCK, Bar(3)))


def _race(server: RedisServer, waiters: int, sizes: Sizes, report: Report) -> Samples:
    field: dict[str, Maker] = {who.LOCK: locks.Ours, **who.makers()}
    p50: Samples = {name: [] for name in field}
    with Workers([server.url], waiters) as workers:
        workers.open(field)
        for name in field:
            _turn(workers, server, name, _FIRST)
        for name in turns(list(field), sizes.handover_rounds):
            turn, grants = _turn(workers, server, name, sizes.handover_seconds)
            p50[name].append(turn_seen(grants, turn, waiters).p50)
            if name == OURS:
                report.violations += overlaps(grants)
    return p50


def _turn(
    workers: Workers, server: RedisServer, name: str, seconds: float
) -> tuple[Turn, list[Grant]]:
    try:
        return workers.turn(name, seconds)
    finally:
        with server.client() as client:
            client.delete(NAME)
