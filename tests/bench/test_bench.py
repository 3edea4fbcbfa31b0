"""The benches run, and decide rightly.  Whether the figures are good is not tested."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bench import report as reports
from bench import rounds
from bench.counter import __main__ as counting
from bench.counter import contestants as counters
from bench.counter.sizes import QUICK as FEW
from bench.environment import environment
from bench.lock import __main__ as program
from bench.lock import contestants as who
from bench.lock import kept
from bench.lock.grants import Grant, jain, latencies, overlaps
from bench.lock.sizes import QUICK
from bench.placement import TOGETHER, placed, placements
from bench.program import run
from bench.report import Bar, Report, Row
from coordkit import Session
from coordkit._core import lock as protocol
from support.servers import RedisServer

TINY = dataclasses.replace(
    QUICK,
    cycle_rounds=2,
    cycles=2,
    task_rounds=2,
    tasks=3,
    task_cycles=2,
    waiters=(3,),
    handover_rounds=1,
    handover_seconds=1.0,  # of two who poll, one finds it free
    leases=30,
    lease_ttl=1.0,
    lease_seconds=1.2,
    names=300,
)


FEWER = dataclasses.replace(
    FEW, rounds=2, adds=2, counters=20, trips=1, ids=50, block=20, adds_kept=80
)


def measured(name: str) -> Report:
    """Return what one bench reports in a tiny size."""
    report = Report(who.ALL)
    run([name], program.BENCHES, TINY, report)
    return sound(report)


def counted(name: str) -> Report:
    """Return what one bench of counters reports in a tiny size."""
    report = Report(counters.ALL)
    run([name], counting.BENCHES, FEWER, report)
    return sound(report)


def sound(report: Report) -> Report:
    assert report.violations == []
    table = report.markdown().splitlines()
    assert len(table) == len(report.rows) + 2
    assert len({line.count(" | ") for line in table}) == 1  # as many cells in each line
    return report


def present(*names: str) -> set[str]:
    return set(names) - set(who.absent())


# -- the benches ------------------------------------------------------------------------


def test_cycle() -> None:
    *once, anew = measured("cycle").rows
    assert len(once) == len(placements())
    for row in (*once, anew):
        assert set(row.figures) == present(*who.ALL)
        assert set(row.ratios) == present(*who.ALL) - {who.FLOOR}
        assert all(len(taken) == TINY.cycle_rounds for taken in row.samples.values())
        assert 10 < row.figures[who.FLOOR] < 1e6  # µs: a trip over the loopback
        assert row.base == who.FLOOR
    assert [str(row.bar) for row in once] == ["≤ 1.15"] * len(once)
    assert anew.bar is None


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux only")
def test_client_and_server_are_placed_and_let_go_again() -> None:
    cores = os.sched_getaffinity(0)
    with RedisServer() as server:
        for way in placements():
            with placed(way, server.pid):
                ours, theirs = (os.sched_getaffinity(pid) for pid in (0, server.pid))
                assert len(ours) == len(theirs) == 1
                assert (ours == theirs) is (way == TOGETHER)
            assert os.sched_getaffinity(0) == os.sched_getaffinity(server.pid) == cores


def test_tasks() -> None:
    rows = measured("tasks").rows
    assert len(rows) == 2 * len(placements())
    narrow, wide = rows[:2]
    assert set(narrow.figures) == {who.FLOOR, who.OURS, who.REDIS_PY}
    assert set(wide.figures) == {who.OURS, who.REDIS_PY}
    assert narrow.samples[who.OURS] == wide.samples[who.OURS]
    assert all(10 < each < 1e6 for each in narrow.figures.values())
    assert str(narrow.bar) == str(wide.bar) == "≥ 3"
    assert narrow.base == wide.base == who.REDIS_PY


@pytest.mark.slow
def test_handover() -> None:
    p50, requests, fairness = measured("handover").rows
    field = present(who.FLOOR, who.OURS, who.REDIS_PY, who.REDIS_LOCK)
    assert set(p50.figures) == set(requests.figures) == set(fairness.figures) == field
    assert p50.base == who.FLOOR
    # One takes, one gives: this the proxies count exactly, but for the turn's edges.
    assert requests.figures[who.FLOOR] == pytest.approx(2.0, rel=0.1)
    assert all(0 < each <= 1 for each in fairness.figures.values())
    bars = [str(row.bar) for row in (p50, requests, fairness)]
    assert bars == ["≤ 2.50", "≤ 4", "≥ 0.990"]


@pytest.mark.slow
def test_kept() -> None:
    rows = measured("kept").rows
    seen = {row.what.rpartition(": ")[2]: row.figures[who.OURS] for row in rows}
    assert seen["threads"] >= 2  # this one and the keeper
    assert seen["lost"] == 0
    # Each is renewed about every ttl / 3; a hundred fit into a call.
    assert 1 <= seen["script calls"] <= 100
    assert 0 < seen["least time left"] < TINY.lease_ttl


@pytest.mark.slow
def test_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "RELEASED_MS", 1500)
    most, left, size = measured("idle").rows
    assert most.figures[who.OURS] >= TINY.names  # a tombstone each, at least
    # At most what is kept once in each of 256 buckets.
    assert 0 < left.figures[who.OURS] <= 512
    assert (str(left.bar), left.met) == ("≤ 600", True)
    assert 1 < size.figures[who.OURS] < 1000


def test_kept_counts_a_lease_that_is_gone_or_is_another_s() -> None:
    with RedisServer() as server, Session(server.url) as session:
        ours, broken, theirs = (session.lock(n).acquire() for n in ("a", "b", "c"))
        assert kept._lost(session, [ours, broken, theirs]) == 0
        session.lock("b").break_()
        session.lock("c").break_()
        other = session.lock("c").acquire()
        assert kept._lost(session, [ours, broken, theirs]) == 2
        assert kept._lost(session, [ours, other]) == 0


# -- the benches of counters -------------------------------------------------------------


def test_adds() -> None:
    rows, others = counted("adds").rows, counted("peers").rows
    field = set(counters.ALL) - {counters.SINGLE, *counters.absent()}
    assert len(rows) == 3 * len(placements()) + 2
    assert all(set(row.figures) == {counters.FLOOR, reports.OURS} for row in rows)
    assert all(set(row.figures) == field for row in others)
    for row in [*rows, *others]:
        assert row.base == counters.FLOOR
        assert all(taken for taken in row.samples.values())
        assert 5 < row.figures[counters.FLOOR] < 1e6
    assert [str(row.bar) for row in rows[:3]] == ["≤ 1.25", "≤ 1.40", "None"]


def test_trips_and_numbers() -> None:
    trips, numbers = counted("trips").rows, counted("numbers").rows
    assert len(trips) == len(numbers) == len(placements())
    for row in trips:
        assert set(row.figures) == {reports.OURS, counters.SINGLE, counters.FLOOR}
        assert (row.base, str(row.bar)) == (counters.SINGLE, "≥ 10")
    for row in numbers:
        assert set(row.figures) >= {reports.OURS, counters.FLOOR}
        assert (row.base, str(row.bar)) == (counters.FLOOR, "≥ 100")


def test_what_is_kept_of_adds() -> None:
    (row,) = counted("kept").rows
    assert 3 <= row.figures[reports.OURS] <= FEWER.threads + 2
    assert row.met


# -- the programs -------------------------------------------------------------------------


def test_program_writes_the_table_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "QUICK", TINY)
    file = tmp_path / "figures.json"
    assert program.main(["--quick", "--only", "tasks", "--json", str(file)]) == 0
    table = capsys.readouterr().out
    assert table.startswith("| what | coordkit | bar | met | floor | redis-py |")
    said = json.loads(file.read_text())
    assert len(said["rows"]) == 2 * len(placements())
    assert all(row["met"] in {True, False} for row in said["rows"])
    assert said["rows"][0]["figures"].keys() == said["rows"][0]["samples"].keys()
    assert said["environment"]["cores"] == os.cpu_count()


def test_program_fails_for_a_violation_and_not_for_a_missed_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(_: object, __: object, report: Report) -> None:
        report.rows.append(Row("slowness", "", {who.OURS: 9.0}, bar=Bar(1)))

    def wrong(_: object, __: object, report: Report) -> None:
        report.violations.append("held by two at once")

    monkeypatch.setitem(program.BENCHES, "cycle", slow)
    monkeypatch.setitem(program.BENCHES, "tasks", wrong)
    assert program.main(["--only", "cycle"]) == 0
    assert "bar missed: slowness" in capsys.readouterr().err
    assert program.main(["--only", "tasks"]) == 1
    assert "VIOLATION: held by two at once" in capsys.readouterr().err


def test_program_names_a_peer_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(who._MODULES, who.POTTERY, "no_such_module_at_all")
    monkeypatch.setattr(program, "QUICK", TINY)
    assert program.main(["--quick", "--only", "cycle"]) == 0
    table = capsys.readouterr().out
    assert "pottery is not installed: not compared." in table
    assert "pottery |" not in table


def test_package_lists_its_benches() -> None:
    tests = Path(program.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "bench"],
        cwd=tests,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[2] for line in done.stdout.splitlines()]
    assert {"bench.counter", "bench.guard", "bench.lock"} <= set(names)
    assert names == sorted(names)


def test_environment_is_told() -> None:
    told = environment({"redis_version": "7.0.15"})
    assert told["server"] == "redis 7.0.15"
    assert told["packages"]["redis"]
    assert all(told[key] for key in ("date", "cpu", "cores", "python"))
    assert environment({"redis_version": "7", "valkey_version": "8.1"})["server"] == (
        "valkey 8.1"
    )


# -- what decides ---------------------------------------------------------------------------


def grants(*spans: tuple[int, int, int, int]) -> list[Grant]:
    return [Grant(*span) for span in spans]


def test_overlap_and_token_that_does_not_rise_are_found() -> None:
    fine = grants((20, 30, 2, 1), (0, 10, 1, 0), (30, 40, 3, 0))
    assert overlaps(fine) == []
    assert len(overlaps(grants((0, 10, 1, 0), (9, 12, 2, 1)))) == 1
    assert len(overlaps(grants((0, 10, 2, 0), (11, 12, 2, 1)))) == 1
    assert overlaps(grants((0, 10, 0, 0), (11, 12, 0, 1))) == []  # has no tokens


def test_handover_is_counted_from_the_first_giving_back() -> None:
    again = grants((0, 10, 0, 0), (12, 20, 0, 0), (22, 30, 0, 0), (37, 40, 0, 1))
    assert latencies(again) == [27]
    assert latencies([*again, Grant(45, 50, 0, 0)]) == [27, 5]
    assert latencies(again[:3]) == latencies([]) == []


def test_jain() -> None:
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 0.0


def test_everybody_is_once_in_each_round_and_nobody_always_first() -> None:
    order = list(rounds.turns("abc", 6))
    each = [order[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in each)
    assert {one[0] for one in each} == {"a", "b", "c"}
    followed = {(one, two) for turn in each for one, two in pairwise(turn)}
    assert len(followed) == 6


def test_ratio_is_of_the_same_round() -> None:
    # The second round ran on a machine ten times slower.
    samples = {"floor": [100.0, 1000.0, 100.0], "coordkit": [110.0, 1100.0, 120.0]}
    assert rounds.ratios(samples, "floor") == {"coordkit": pytest.approx(1.1)}
    assert rounds.medians(samples) == {"floor": 100.0, "coordkit": 120.0}


@pytest.mark.parametrize(
    ("bar", "ratio", "met"),
    [
        (Bar(1.15), 1.15, True),
        (Bar(1.15), 1.151, False),
        (Bar(3, at_least=True), 3.0, True),
        (Bar(3, at_least=True), 2.9, False),
    ],
)
def test_bar_is_about_the_ratio_where_there_is_one(
    bar: Bar, ratio: float, met: bool
) -> None:
    samples = {"floor": [50.0], "coordkit": [50.0 * ratio]}
    assert reports.compared("x", "µs", samples, "floor", bar).met is met
    assert Row("x", "", {"coordkit": ratio}, bar=bar).met is met
    assert Row("x", "", {"coordkit": ratio}).met is None


def test_figures_are_shown_with_three_digits() -> None:
    said = [reports.shown(each) for each in (0.0, 0.1234, 1.5, 12.34, 1234.5, 600)]
    assert said == ["0", "0.123", "1.50", "12.3", "1234", "600"]
