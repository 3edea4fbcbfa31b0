"""The bench of elections runs, and says what it should.  Whether it is fast is not tested."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from bench.election import __main__ as program
from bench.election import contestants as who
from bench.election import failover, group
from bench.election.sizes import FULL, QUICK
from bench.program import run
from bench.report import OURS, Report
from coordkit import Died, MemberInfo, Members, Suspended

pytestmark = pytest.mark.slow

TINY = dataclasses.replace(
    QUICK,
    crash_rounds=1,
    together=2,
    waiters=(3,),
    handover_rounds=1,
    candidates=2,
    idle_seconds=2.0,
    members=6,
    processes=3,
    quiet_seconds=1.0,
    groups=(2, 5),
    beat_rounds=2,
    beats=5,
)


def measured(name: str) -> Report:
    report = Report(who.ALL)
    run([name], program.BENCHES, TINY, report)
    assert report.violations == []
    return report


def test_the_sizes_are_those_of_the_bars() -> None:
    assert FULL.crash_rounds * FULL.together == 50
    assert (FULL.members, FULL.processes, FULL.silence) == (1000, 10, 10)


def test_failover() -> None:
    p50, p99, longest = measured("failover").rows
    assert set(p50.figures) == set(who.makers())
    assert str(p99.bar) == "≤ 1500"
    assert longest.figures == {
        name: max(all_) for name, all_ in longest.samples.items()
    }
    for name, spans in longest.samples.items():
        assert len(spans) == 2, name
        assert min(spans) > 0, name  # nobody while the dead leader's term lasts


def test_percentiles_are_not_rounded_down() -> None:
    spans = {OURS: [float(number) for number in range(50)]}
    found = [failover._at(spans, part)[OURS] for part in (0.5, 0.99, 1.0)]
    assert found == [25, 49, 49]


def test_handover() -> None:
    (row,) = measured("handover").rows
    assert set(row.figures) == {who.LOCK, *who.makers()}
    assert (row.base, str(row.bar)) == (who.LOCK, "≤ 3")
    assert all(10 < figure < 1e6 for figure in row.figures.values())  # µs


def test_idle() -> None:
    (row,) = measured("idle").rows
    assert set(row.figures) == set(who.makers())
    assert row.figures[OURS] > 0  # who waits says that it is alive
    assert 1 < row.figures[who.REDIS_PY] <= 11  # it asks every 0.1 s, or later
    assert str(row.bar) == "≤ 1"


def test_group() -> None:
    busy, calls, p50, last = measured("group").rows
    assert 0 <= busy.figures[OURS] < 100
    assert calls.figures[OURS] > 1
    assert len(last.samples[OURS]) == TINY.processes - 1
    assert p50.figures[OURS] <= last.figures[OURS] == max(last.samples[OURS])
    assert min(last.samples[OURS]) > 0  # nobody is buried too early
    assert [str(row.bar) for row in (busy, last)] == ["≤ 5", "≤ 3000"]


def test_who_has_died_is_counted_by_process() -> None:
    def member(identity: str) -> MemberInfo:
        return MemberInfo(identity=identity, holder=identity, token=1, since=0.0)

    there: Counter[int] = Counter()
    all_ = tuple(member(name) for name in ("0 0", "0 1", "1 0"))
    assert group._count(there, Members("g", 1, 3, all_)) == []
    assert group._count(there, Died(all_[0], 4)) == []
    assert group._count(there, Suspended("nothing")) == []
    assert group._count(there, Died(all_[1], 5)) == [0]
    assert group._count(there, Members("g", 1, 6, ())) == [1]


def test_heartbeat() -> None:
    *rows, flat = measured("heartbeat").rows
    requests, took = rows[::2], rows[1::2]
    assert [row.figures[OURS] for row in requests] == [1, 1]
    assert all(0 < row.figures[OURS] < 10_000 for row in took)
    assert str(flat.bar) == "≤ 1.50"


def test_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "QUICK", TINY)
    file = tmp_path / "figures.json"
    assert program.main(["--quick", "--only", "heartbeat", "--json", str(file)]) == 0
    assert capsys.readouterr().out.startswith("| what | coordkit | bar | met |")
    said = json.loads(file.read_text())
    assert "load_before" in said["environment"]
    assert len(said["rows"]) == 5


def test_program_names_a_peer_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(who, "absent", lambda: [who.TOOZ])
    monkeypatch.setattr(program, "QUICK", TINY)
    assert program.main(["--quick", "--only", "heartbeat"]) == 0
    assert "tooz is not installed: not compared." in capsys.readouterr().out
