"""One client takes and gives a name that nobody else wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

from support.servers import RedisServer

from ..placement import placed, placements
from ..report import Bar, Report, compared
from ..rounds import Samples, turns
from . import contestants as who
from .contestants import Contestant
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a row for each placement, and one with a lock object made for each cycle."""
    ways = placements()
    for way in ways:
        samples = _run(server, sizes, way, anew=False)
        what = f"acquire + release, client and server on {way}"
        report.rows.append(compared(what, "µs", samples, who.FLOOR, Bar(1.15)))
    samples = _run(server, sizes, ways[0], anew=True)
    what = f"the same, a new lock object each time, on {ways[0]}"
    report.rows.append(compared(what, "µs", samples, who.FLOOR))


def _run(server: RedisServer, sizes: Sizes, way: str, *, anew: bool) -> Samples:
    url, away = server.url, who.absent()
    makers: dict[str, Callable[[], Contestant]] = {
        who.FLOOR: partial(who.Bare, url, "bench:bare"),
        who.OURS: partial(who.Ours, url, "bench", anew=anew),
        who.REDIS_PY: partial(who.redis_py, url, "bench:py", anew=anew),
        who.REDIS_LOCK: partial(who.redis_lock, url, "bench", anew=anew),
        who.POTTERY: partial(who.pottery, url, "bench", anew=anew),
    }
    with placed(way, server.pid), ExitStack() as stack:
        field: dict[str, Contestant] = {}
        for name, make in makers.items():
            if name not in away:
                field[name] = stack.enter_context(closing(make()))
        return _race(field, sizes)


def _race(field: dict[str, Contestant], sizes: Sizes) -> Samples:
    """Return each one's microseconds a cycle, round by round."""
    for contestant in field.values():  # connects, and has the scripts loaded
        _cycles(contestant, 20)
    samples: Samples = {name: [] for name in field}
    for name in turns(list(field), sizes.cycle_rounds):
        samples[name].append(_cycles(field[name], sizes.cycles) * 1e6)
    return samples


def _cycles(contestant: Contestant, number: int) -> float:
    """Return the seconds a cycle took, on average."""
    take, give = contestant.take, contestant.give
    began = time.perf_counter()
    for _ in range(number):
        take()
        give()
    return (time.perf_counter() - began) / number
