"""Measure the rings: ``python -m bench.ring``, with ``tests`` on the path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from support.servers import RedisServer

from ..environment import environment
from ..program import conclude, options, place
from ..report import Report
from . import contestants as who
from . import felt, lookups, picks, shape
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Callable[[RedisServer, Sizes, Report], None]] = {
    "lookups": lookups.measure,
    "shape": shape.measure,
    "felt": felt.measure,
    "picks": picks.measure,
}


def run(names: Sequence[str], sizes: Sizes, report: Report) -> None:
    """Run the benches, each on a fresh server."""
    for name in names:
        began = time.monotonic()
        with RedisServer() as server:
            BENCHES[name](server, sizes, report)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("ring", __doc__, BENCHES).parse_args(argv)
    with RedisServer() as server:
        where = environment(server.info("server"))
    away = who.absent()
    report = Report([name for name in who.ALL if name not in away])
    report.notes += [f"{name} is not installed: not compared." for name in away]
    run(given.only or list(BENCHES), QUICK if given.quick else FULL, report)
    report.notes.append(
        f"{place(where)}. Medians; ratios are medians of the ratios within a round. Each "
        "with its defaults; redis-hashring says only whether a key is its own. The floor "
        "is a call and the hash."
    )
    return conclude(report, given.json, where)


if __name__ == "__main__":
    sys.exit(main())
