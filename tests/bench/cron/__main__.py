"""Measure cron: ``python -m bench.cron``, with ``tests`` on the path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cli.program import Program
from sim import crontab
from sim.story import Violation
from support.processes import temporary_directory
from support.servers import RedisServer

from ..environment import environment
from ..program import conclude, options, place
from ..report import OURS, Bar, Report, Row
from .hosts import HOSTS, PERIOD, SKEW, Hosts


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    #: simulated days of each kind
    days: int
    #: real ticks, and restarts of the server
    ticks: int
    restarts: int


FULL = Sizes(days=20, ticks=50, restarts=3)
QUICK = Sizes(days=1, ticks=3, restarts=1)


def simulated(sizes: Sizes, report: Report) -> None:
    """Play days of each kind that knows no loss of data."""
    for kind in ("by schedule", "by span"):
        runs = asks = unknown = died = bad = 0
        for seed in range(sizes.days):
            try:
                sheet = crontab.DAYS[kind](seed)
            except Violation as violation:
                report.violations.append(f"{kind}, seed {seed}: {violation}")
                bad += 1
                continue
            runs += len(sheet.runs)
            asks += sum(sheet.answered.values())
            unknown += sheet.unknown
            died += sheet.world.counts["crash"]
        what = (
            f"simulated {kind}: {sizes.days} × {crontab.TICKS} ticks, "
            f"{crontab.HOSTS} hosts ± {crontab.SKEW:g} s"
        )
        report.rows += [
            Row(f"{what}: run twice, or left out", "", {OURS: bad}, bar=Bar(0)),
            Row(f"{what}: runs", "", {OURS: runs}),
            Row(f"{what}: asked and answered", "", {OURS: asks}),
            Row(f"{what}: processes that died", "", {OURS: died}),
            Row(f"{what}: without an answer", "", {OURS: unknown}),
        ]


def real(sizes: Sizes, report: Report) -> None:
    """Have real processes ask."""
    program = Program(temporary_directory())
    with RedisServer(persistence="always") as server:
        program.env["COORDKIT_URL"] = server.url
        hosts = Hosts(program, server)
        hosts.play(sizes.ticks, sizes.restarts)
    what = (
        f"real: {sizes.ticks} ticks of {PERIOD:g} s, {HOSTS} hosts "
        f"± {SKEW * PERIOD:g} s, {sizes.restarts} restarts"
    )
    report.rows += [
        Row(f"{what}: run twice", "", {OURS: len(hosts.twice)}, bar=Bar(0)),
        Row(f"{what}: left out", "", {OURS: len(hosts.left_out)}, bar=Bar(0)),
        Row(f"{what}: ticks run", "", {OURS: len(hosts.ran)}),
        Row(f"{what}: processes killed", "", {OURS: hosts.killed}),
        Row(f"{what}: ended with an error", "", {OURS: len(hosts.failed)}),
    ]
    report.violations += [f"run twice: {tick}" for tick in hosts.twice]
    report.violations += [f"left out: {tick}" for tick in sorted(hosts.left_out)]
    report.notes += [f"an error: {said.strip()}" for said in hosts.failed[:3]]


BENCHES: dict[str, Callable[[Sizes, Report], None]] = {
    "simulated": simulated,
    "real": real,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("cron", __doc__, BENCHES).parse_args(argv)
    with RedisServer() as server:
        where = environment(server.info("server"))
    report = Report([OURS])
    for name in given.only or BENCHES:
        began = time.monotonic()
        BENCHES[name](QUICK if given.quick else FULL, report)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    report.notes.append(f"{place(where)}.")
    return conclude(report, given.json, where)


if __name__ == "__main__":
    sys.exit(main())
