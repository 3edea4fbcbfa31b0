"""Measure the guard: ``python -m bench.guard``, with ``tests`` on the path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from cli.program import Program
from support.matrix import CELLS, expected, seen, table
from support.processes import temporary_directory
from support.servers import RedisServer

from ..environment import environment
from ..program import conclude, options, place
from ..report import OURS, Bar, Report, Row, compared
from . import codes, crowd, startup, trials
from .sizes import FULL, QUICK, Sizes

#: How many cells of the matrix are looked at at the same time.
_TOGETHER = 5


def of_trials(program: Program, sizes: Sizes, report: Report) -> None:
    """Add how often, and how early, the command was gone."""
    for what, kind in trials.KINDS.items():
        done = trials.run(
            what,
            program,
            number=sizes.trials,
            together=sizes.together,
            ttl=sizes.ttl,
        )
        in_time = [t for t in done if t.left > 0 and t.kept is not False]
        right = [t for t in done if t.code == kind.code]
        report.rows += [
            _count(f"{what}: gone before the lease's end", len(in_time), len(done)),
            _count(f"{what}: exit code {kind.code}", len(right), len(done)),
            *_milliseconds(f"{what}: gone after", [t.after for t in done], what),
            Row(
                f"{what}: least time left of the lease",
                "ms",
                {OURS: 1000 * min(t.left for t in done)},
            ),
        ]
        report.violations += [f"{what}: {t}" for t in done if t not in in_time]


def _milliseconds(title: str, spans: Sequence[float], what: str) -> list[Row]:
    ordered = sorted(1000 * span for span in spans)
    p50, p99 = (ordered[int(part * (len(ordered) - 1))] for part in (0.5, 0.99))
    bar = Bar(100) if what == "guard SIGKILLed" else None
    samples = {OURS: [round(span, 1) for span in ordered]}
    return [
        Row(f"{title}, p50", "ms", {OURS: p50}),
        Row(f"{title}, p99", "ms", {OURS: p99}),
        Row(f"{title}, longest", "ms", {OURS: ordered[-1]}, bar=bar, samples=samples),
    ]


def _count(what: str, good: int, number: int) -> Row:
    return Row(what, f"of {number}", {OURS: good}, bar=Bar(number, at_least=True))


def of_codes(program: Program, sizes: Sizes, report: Report) -> None:
    """Add how many exit codes and deaths were passed on as the table says."""
    with RedisServer() as server:
        program.env["COORDKIT_URL"] = server.url
        exits = codes.of_exits(program, sizes.codes)
        deaths = codes.of_deaths(program)
    good = [code for code, seen in exits.items() if seen == code]
    report.rows.append(_count("exit codes passed on", len(good), len(exits)))
    good = [signum for signum, seen in deaths.items() if seen == 128 + signum]
    report.rows.append(_count("signals told as 128 + N", len(good), len(deaths)))


def of_crowd(program: Program, sizes: Sizes, report: Report) -> None:
    """Add how many of many guards ran their commands, one after another."""
    with RedisServer() as server:
        program.env["COORDKIT_URL"] = server.url
        came = crowd.run(program, sizes.crowd)
    what = "guards of one name at once: commands that ran alone, with rising tokens"
    report.rows.append(_count(what, came.ran, sizes.crowd))
    try:
        came.check()
    except AssertionError as violation:
        report.violations.append(str(violation))


def of_startup(program: Program, sizes: Sizes, report: Report) -> None:
    """Add what it costs to start."""
    startup.compiled()
    with RedisServer() as server:
        program.env["COORDKIT_URL"] = server.url
        run = startup.of_run(program, sizes.rounds)
    help_ = startup.of_help(program, sizes.rounds)
    report.rows += [
        compared("lock run x -- true, wall", "ms", run, startup.IMPORT, Bar(1.25)),
        compared("coordkit --help, wall", "ms", help_, startup.PASS, Bar(4)),
    ]


BENCHES: dict[str, Callable[[Program, Sizes, Report], None]] = {
    "trials": of_trials,
    "codes": of_codes,
    "crowd": of_crowd,
    "startup": of_startup,
}


def matrix(program: Program) -> tuple[str, list[str]]:
    """Return the table of signals and commands, and the cells that are not as promised."""
    with RedisServer() as server, ThreadPoolExecutor(_TOGETHER) as pool:
        program.env["COORDKIT_URL"] = server.url
        found = list(pool.map(lambda cell: seen(program, *cell), CELLS))
    cells = dict(zip(CELLS, found, strict=True))
    wrong = [f"{at}: {it}" for at, it in cells.items() if it != expected(*at)]
    return table(cells), wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    parser = options("guard", __doc__, BENCHES)
    parser.add_argument(
        "--matrix",
        action="store_true",
        help="only what becomes of which command when its guard gets which signal",
    )
    given = parser.parse_args(argv)
    program = Program(temporary_directory())
    if given.matrix:
        shown, wrong = matrix(program)
        print(shown)
        for cell in wrong:
            print(f"VIOLATION: {cell}", file=sys.stderr)
        return 1 if wrong else 0
    with RedisServer() as server:
        where = environment(server.info("server"))
    report = Report([OURS, startup.IMPORT, startup.PASS])
    for name in given.only or BENCHES:
        began = time.monotonic()
        BENCHES[name](program, QUICK if given.quick else FULL, report)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    report.notes.append(
        f"{place(where)}. Every trial is seen some milliseconds late, never early."
    )
    return conclude(report, given.json, where)


if __name__ == "__main__":
    sys.exit(main())
