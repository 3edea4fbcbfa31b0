"""The bench of cron runs, and sees what must never happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cron import __main__ as bench
from bench.cron.hosts import Hosts
from cli.program import Program
from sim import crontab
from support.servers import RedisServer


def test_it_prints_what_was_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--quick", "--only", "simulated"]) == 0
    table = capsys.readouterr().out
    assert "simulated by span: 1 × 200 ticks, 5 hosts ± 20 s" in table
    assert "| 0 | ≤ 0 | yes |" in table


def test_a_wrong_protocol_fails_it(capsys: pytest.CaptureFixture[str]) -> None:
    with crontab.lost_is_due():
        assert bench.main(["--quick", "--only", "simulated"]) == 1
    assert "VIOLATION: by schedule, seed 0: tick " in capsys.readouterr().err


def test_runs_of_hosts_are_told_from_what_they_say(tmp_path: Path) -> None:
    hosts = Hosts(Program(tmp_path), RedisServer())
    hosts.ran.update(["a", "b", "b"])
    hosts.asked |= {"a", "b", "c", "d"}
    hosts.written |= {"d"}
    assert hosts.twice == ["b"]
    assert hosts.left_out == {"c"}


@pytest.mark.slow
def test_real_hosts_ask(tmp_path: Path) -> None:
    with RedisServer(persistence="always") as server:
        program = Program(tmp_path)
        program.env["COORDKIT_URL"] = server.url
        hosts = Hosts(program, server)
        hosts.play(ticks=2, restarts=1)
    assert hosts.ran
    assert hosts.twice == []
    assert hosts.left_out == set()
    assert hosts.failed == []
