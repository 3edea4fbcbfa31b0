"""The bench of the guard runs, and counts rightly.  Whether it is fast is not tested."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.guard import __main__ as program
from bench.guard import codes, startup, trials
from bench.guard.sizes import FULL, QUICK
from bench.report import OURS, Report
from cli.program import Program
from support.groups import PROC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
]

TINY = dataclasses.replace(QUICK, trials=2, together=2, rounds=2, codes=(0, 7), crowd=3)


def measured(name: str, tmp_path: Path) -> Report:
    report = Report([OURS, startup.IMPORT, startup.PASS])
    program.BENCHES[name](Program(tmp_path), TINY, report)
    assert report.violations == []
    return report


def test_the_bars_are_those_that_are_promised() -> None:
    assert (FULL.trials, FULL.crowd, FULL.codes) == (200, 50, tuple(range(256)))


def test_trials(tmp_path: Path) -> None:
    rows = {row.what: row for row in measured("trials", tmp_path).rows}
    for what, kind in trials.KINDS.items():
        gone = rows[f"{what}: gone before the lease's end"]
        assert (gone.figures[OURS], gone.unit, gone.met) == (2, "of 2", True)
        assert rows[f"{what}: exit code {kind.code}"].met
        p50, longest = (rows[f"{what}: gone after, {at}"] for at in ("p50", "longest"))
        assert 0 < p50.figures[OURS] <= longest.figures[OURS] < 1000 * TINY.ttl
        assert len(longest.samples[OURS]) == 2
        left = rows[f"{what}: least time left of the lease"]
        assert 0 < left.figures[OURS] < 1000 * TINY.ttl
    bars = [row.what for row in rows.values() if str(row.bar) == "≤ 100"]
    assert bars == ["guard SIGKILLed: gone after, longest"]


def test_a_trial_that_is_late_is_a_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = trials.Trial(after=2.5, left=-0.5, kept=None, code=76)
    passed = trials.Trial(after=1.0, left=0.5, kept=False, code=76)
    monkeypatch.setattr(trials, "run", lambda *_, **__: [late, passed])
    report = Report([OURS])
    program.of_trials(Program(tmp_path), TINY, report)
    assert len(report.violations) == 2 * len(trials.KINDS)
    assert {row.met for row in report.rows if "before" in row.what} == {False}


def test_codes(tmp_path: Path) -> None:
    exits, deaths = measured("codes", tmp_path).rows
    assert (exits.unit, exits.met) == ("of 2", True)
    assert (deaths.unit, deaths.met) == (f"of {len(codes.deadly())}", True)


def test_crowd(tmp_path: Path) -> None:
    (row,) = measured("crowd", tmp_path).rows
    assert (row.figures[OURS], row.met) == (3, True)


def test_startup(tmp_path: Path) -> None:
    run, help_ = measured("startup", tmp_path).rows
    assert set(run.figures) == {OURS, startup.IMPORT}
    assert set(help_.figures) == {OURS, startup.PASS}
    assert [str(row.bar) for row in (run, help_)] == ["≤ 1.25", "≤ 4"]
    assert all(len(taken) == 2 for taken in run.samples.values())


def test_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "QUICK", TINY)
    file = tmp_path / "figures.json"
    assert program.main(["--quick", "--only", "crowd", "--json", str(file)]) == 0
    assert capsys.readouterr().out.startswith("| what | coordkit | bar | met |")
    assert json.loads(file.read_text())["rows"][0]["met"] is True


def test_the_matrix_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--matrix"]) == 0
    assert "| SIGSTOP | gone, 76 | gone, 76 |" in capsys.readouterr().out
