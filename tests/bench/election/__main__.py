"""Measure elections and groups: ``python -m bench.election``, with ``tests`` on the path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from support.servers import RedisServer

from ..environment import environment, load_average
from ..program import conclude, options, place
from ..report import Report
from . import contestants as who
from . import failover, group, handover, heartbeat, idle
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Callable[[RedisServer, Sizes, Report], None]] = {
    "failover": failover.measure,
    "handover": handover.measure,
    "idle": idle.measure,
    "group": group.measure,
    "heartbeat": heartbeat.measure,
}


def run(names: Sequence[str], sizes: Sizes, report: Report) -> None:
    """Run the benches, each on a fresh server."""
    for name in names:
        began = time.monotonic()
        with RedisServer() as server:
            BENCHES[name](server, sizes, report)
        took = time.monotonic() - began
        print(f"{name}: {took:.0f} s, load {load_average()}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("election", __doc__, BENCHES).parse_args(argv)
    with RedisServer() as server:
        where = environment(server.info("server"))
    away = who.absent()
    report = Report([name for name in who.ALL if name not in away])
    report.notes += [f"{name} is not installed: not compared." for name in away]
    run(given.only or list(BENCHES), QUICK if given.quick else FULL, report)
    report.notes.append(
        f"{place(where)}. Medians where nothing else is said; ratios are medians of the "
        "ratios within a round. Peers ask ten times a second, as their manuals do."
    )
    return conclude(report, given.json, where)


if __name__ == "__main__":
    sys.exit(main())
