"""The bench of the rings runs, and says what it should.  Whether it is good is not tested."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.report import OURS, Report
from bench.ring import __main__ as program
from bench.ring import contestants as who
from bench.ring import lookups
from bench.ring.sizes import QUICK
from coordkit._core.balance import STRATEGIES

TINY = dataclasses.replace(
    QUICK, nodes=(3, 5), rounds=2, keys=50, sample=500, slots=1024, repeats=1
)


def measured(name: str) -> Report:
    report = Report(who.ALL)
    program.run([name], TINY, report)
    assert report.violations == []
    return report


def present(*names: str) -> set[str]:
    return set(names) - set(who.absent())


def test_lookups() -> None:
    single, batch, *others = measured("lookups").rows
    assert len(others) == 2
    everybody = present(OURS, who.UHASHRING, who.TOOZ, who.HASHRING, who.FLOOR)
    assert set(single.figures) == everybody
    assert set(batch.figures) == {OURS, who.SINGLE}
    assert all(len(taken) == TINY.rounds for taken in single.samples.values())
    assert all(10 < figure < 1e6 for figure in single.figures.values())  # ns
    assert str(batch.bar) == "≤ 0.800"
    if who.UHASHRING in everybody:
        assert (str(single.bar), single.base) == ("≤ 0.100", who.UHASHRING)


def test_lookups_that_differ_are_a_violation() -> None:
    class Wrong:
        owner = staticmethod(lambda key: who.names(3)[0])
        owner_many = staticmethod(lambda keys: [who.names(3)[1] for _ in keys])

    report = Report(who.ALL)
    lookups._agree({OURS: Wrong()}, ["a"], 3, report)
    assert report.violations == ["owner() and owner_many() differ at 3 nodes"]


def test_shape() -> None:
    report = measured("shape")
    by_name = {row.what: row for row in report.rows}
    even = by_name["max/mean over 500 keys, 3 nodes"]
    assert set(even.figures) == present(OURS, who.UHASHRING, who.TOOZ)
    assert all(1 <= figure < 3 for figure in even.figures.values())
    moved = by_name["keys moved by one node more, of the ideal, 3 nodes"]
    assert 0.7 < moved.figures[OURS] < 1.3
    for number in TINY.nodes:
        exact = by_name[f"max/mean, exact, {number} nodes"]
        assert exact.met
        error = by_name[f"weight error, {number} nodes of 7 weights, in slots"]
        assert error.met
    assert sum(row.bar is not None for row in report.rows) == 5 * len(TINY.nodes)
    built = by_name["a ring of 3 nodes built (ours: in Redis, and loaded)"]
    assert set(built.figures) == present(OURS, who.UHASHRING, who.TOOZ, who.HASHRING)


def test_felt() -> None:
    rows = measured("felt").rows
    assert [row.unit for row in rows] == ["ms"] * len(rows)
    assert len(rows) == 6 * len(TINY.nodes)
    assert all(row.bar is not None for row in rows)
    assert all(0 < row.figures[OURS] < 1000 for row in rows)


def test_picks() -> None:
    rows = measured("picks").rows
    assert len(rows) == 2 * len(STRATEGIES) * len(TINY.nodes)
    assert all(0 < row.figures[OURS] < 1e5 for row in rows)
    barred = [row for row in rows if row.bar is not None]
    assert len(barred) == (len(STRATEGIES) - 1) * len(TINY.nodes)
    assert {row.unit for row in barred} == {"µs"}


def test_program_writes_the_table_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "QUICK", TINY)
    file = tmp_path / "figures.json"
    assert program.main(["--quick", "--only", "felt", "--json", str(file)]) == 0
    assert capsys.readouterr().out.startswith("| what | coordkit | bar | met |")
    said = json.loads(file.read_text())
    assert len(said["rows"]) == 6 * len(TINY.nodes)
    assert {"uhashring", "tooz", "redis-hashring"} <= said["environment"][
        "packages"
    ].keys()


def test_program_names_a_peer_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(who._MODULES, who.UHASHRING, "no_such_module.at_all")
    monkeypatch.setattr(program, "QUICK", TINY)
    assert program.main(["--quick", "--only", "lookups"]) == 0
    table = capsys.readouterr().out
    assert "uhashring is not installed: not compared." in table
    assert "× uhashring" not in table
