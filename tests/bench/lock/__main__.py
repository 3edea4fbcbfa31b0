"""Measure the locks: ``python -m bench.lock``, with ``tests`` on the path."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.servers import RedisServer

from ..environment import environment
from ..report import Report
from . import contestants as who
from . import cycle, handover, idle, kept, tasks
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Callable[[RedisServer, Sizes, Report], None]] = {
    "cycle": cycle.measure,
    "tasks": tasks.measure,
    "handover": handover.measure,
    "kept": kept.measure,
    "idle": idle.measure,
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
    parser = argparse.ArgumentParser(prog="python -m bench.lock", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it run?"
    )
    parser.add_argument(
        "--only",
        choices=BENCHES,
        action="append",
        metavar="NAME",
        help=" ".join(BENCHES),
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="all figures, and where"
    )
    given = parser.parse_args(argv)
    with RedisServer() as server:
        where = environment(server.info("server"))
    away = who.absent()
    report = Report([name for name in who.ALL if name not in away])
    report.notes += [f"{name} is not installed: not compared." for name in away]
    run(given.only or list(BENCHES), QUICK if given.quick else FULL, report)
    report.notes.append(
        f"{where['cpu']}, {where['cores']} cores, {where['python']}, {where['server']}, "
        f"redis-py {where['packages']['redis']}, {where['date'][:10]}. Medians; ratios "
        "are medians of the ratios within a round."
    )
    print(report.markdown())
    if given.json is not None:
        report.write(given.json, where)
    for row in report.missed():
        print(f"bar missed: {row.what}", file=sys.stderr)
    for violation in report.violations[:20]:
        print(f"VIOLATION: {violation}", file=sys.stderr)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
