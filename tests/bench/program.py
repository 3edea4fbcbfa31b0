"""What the programs of all benches have in common: their options, and their last words."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from support.servers import RedisServer

from .environment import environment, load_average
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
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{name}: {took}, load {load_average()}", file=sys.stderr)


def play(
    given: argparse.Namespace,
    benches: Mapping[str, Bench[S]],
    sizes: S,
    contestants: Sequence[str],
    absent: Sequence[str],
) -> int:
    """Run what is *given*, of those who are not *absent*; return what `conclude` returns."""
    with RedisServer() as server:
        where = environment(server.info("server"))
    report = Report([name for name in contestants if name not in absent])
    report.notes += [f"{name} is not installed: not compared." for name in absent]
    run(given.only or list(benches), benches, sizes, report)
    report.notes.append(
        f"{place(where)}. Medians; ratios are medians of the ratios within a round."
    )
    return conclude(report, given.json, where)


def options(
    of: str, says: str | None, benches: Iterable[str]
) -> argparse.ArgumentParser:
    """Return a parser of the options of ``python -m bench.<of>``."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{of}", description=says)
    names = list(benches)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it run?"
    )
    parser.add_argument(
        "--only",
        choices=names,
        action="append",
        metavar="NAME",
        help=" ".join(names),
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="all figures, and where"
    )
    return parser


def place(where: dict[str, Any]) -> str:
    """Return in a few words on what machine something was measured, and when."""
    return (
        f"{where['cpu']}, {where['cores']} cores, {where['python']}, {where['server']}, "
        f"redis-py {where['packages']['redis']}, {where['date'][:10]}"
    )


def conclude(report: Report, file: Path | None, where: dict[str, Any]) -> int:
    """Print the report; return 1 if something happened that must never happen, else 0."""
    print(report.markdown())
    if file is not None:
        report.write(file, where)
    for row in report.missed():
        print(f"bar missed: {row.what}", file=sys.stderr)
    for violation in report.violations[:20]:
        print(f"VIOLATION: {violation}", file=sys.stderr)
    return 1 if report.violations else 0
