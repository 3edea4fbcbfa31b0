"""The program of a bench: what it is told, what it prints, and how it ends."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from support.servers import RedisServer

from .environment import environment
from .report import Report

S = TypeVar("S")
#: Measures one thing on a fresh server, and adds to the report what it was.
Bench = Callable[[RedisServer, S, Report], None]


def run(
    names: Sequence[str], benches: Mapping[str, Bench[S]], sizes: S, report: Report
) -> None:
    """Run the benches of these names, each on a fresh server."""
    for name in names:
        began = time.monotonic()
        with RedisServer() as server:
            benches[name](server, sizes, report)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def play(
    argv: Sequence[str] | None,
    program: str,
    about: str | None,
    benches: Mapping[str, Bench[S]],
    sizes: tuple[S, S],
    contestants: Sequence[str],
    absent: Sequence[str],
) -> int:
    """
    Print the table; 1 if something happened that must never happen, else 0.

    *sizes*: in full, and when it is only to be seen whether it runs.  *absent*: peers
    that are not installed.
    """
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it run?"
    )
    parser.add_argument(
        "--only",
        choices=benches,
        action="append",
        metavar="NAME",
        help=" ".join(benches),
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="all figures, and where"
    )
    given = parser.parse_args(argv)
    with RedisServer() as server:
        where = environment(server.info("server"))
    report = Report([name for name in contestants if name not in absent])
    report.notes += [f"{name} is not installed: not compared." for name in absent]
    run(given.only or list(benches), benches, sizes[given.quick], report)
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
