"""What `coordkit lock run` tells: events, the status file, notes, and what it would do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest

from cli.program import Program, Ran
from coordkit import Session
from coordkit._core.keys import lock_keys

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")


def run(program: Program, *words: str) -> Ran:
    return program.run("lock", "run", *words)


def events(program: Program, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run with an event stream on a pipe; return the code and the events."""
    reading, writing = os.pipe()
    argv = [*program.argv, "lock", "run", "--event-fd", str(writing), *words]
    done = subprocess.run(
        argv, pass_fds=[writing], cwd=program.directory, env=program.env, check=False
    )
    os.close(writing)
    with os.fdopen(reading) as stream:
        return done.returncode, [json.loads(line) for line in stream]


def test_events_tell_the_story(coordkit: Program) -> None:
    before = time.time()
    code, told = events(coordkit, "--ttl", "1", "x", "sh", "-c", "sleep 1; exit 7")
    assert code == 7
    recurrent = {"renewed", "at-risk"}  # the latter where the machine is busy
    names = [event["event"] for event in told if event["event"] not in recurrent]
    expected = "waiting acquired started exited gone released ended"
    assert names == expected.split()
    assert len(told) >= len(names) + 2
    by_name = {event["event"]: event for event in told}
    assert (by_name["waiting"]["name"], by_name["waiting"]["namespace"]) == (
        "x",
        "default",
    )
    assert by_name["acquired"]["token"] > 10**15
    assert 0 < by_name["renewed"]["expires_in"] <= 1
    assert by_name["exited"]["code"] == 7
    assert by_name["gone"]["cause"] == "itself"
    assert by_name["ended"]["exit"] == 7
    assert {event["v"] for event in told} == {1}
    instants = [event["at"] for event in told]
    assert before - 1 < instants[0] <= instants[-1] < time.time() + 1


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        (
            ["x", "sh", "-c", "kill -9 $$"],
            137,
            {"signal": "SIGKILL", "cause": "itself"},
        ),
        (["x", "sh", "-c", "exit 76"], 76, {"code": 76, "cause": "itself"}),
        (
            ["--max-runtime", "0.1", "x", "sleep", "60"],
            124,
            {"signal": "SIGTERM", "cause": "max-runtime"},
        ),
        (["-n", "taken", "true"], 75, {"cause": "busy"}),
        (["-n", "--skip-ok", "taken", "true"], 0, {"cause": "busy"}),
        (["--slots", "2", "taken", "true"], 78, {}),
    ],
)
def test_the_status_file_tells_codes_apart(
    coordkit: Program,
    session: Session,
    words: list[str],
    code: int,
    facts: dict[str, Any],
) -> None:
    with session.lock("taken", slots=1).acquire():
        assert run(coordkit, "--status-file", "status", *words).code == code
    status = json.loads((coordkit.directory / "status").read_text())
    assert status["event"] == "ended"
    assert status["exit"] == code
    assert facts.items() <= status.items()
    assert [path.name for path in coordkit.directory.iterdir()] == ["status"]


def test_a_slow_reader_of_events_holds_up_nobody(coordkit: Program) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    argv = [*coordkit.argv, "lock", "run", "--event-fd", str(writing), "x", "true"]
    done = subprocess.run(
        argv, pass_fds=[writing], env=coordkit.env, timeout=30, check=False
    )
    assert done.returncode == 0
    os.close(reading)
    os.close(writing)


def test_it_is_silent_unless_asked(coordkit: Program, session: Session) -> None:
    assert run(coordkit, "x", "true") == (0, "", "")
    said = run(coordkit, "-v", "x", "true").err
    assert said.count("\n") == said.count("coordkit: ") > 0
    with session.lock("x").acquire():
        assert run(coordkit, "-n", "x", "true").err
    quiet = run(coordkit, "-q", "--max-runtime", "0.1", "x", "sleep", "60")
    assert quiet == (124, "", "")


# -- explain ------------------------------------------------------------------------------


def test_explain_shows_the_time_line_and_the_keys_and_asks_nobody(
    program: Program,
) -> None:
    program.env["COORDKIT_URL"] = "redis://:se-cret@nowhere.invalid/0"
    ran = run(program, "--explain", "-k", "5", "x", "--", "touch", "ran")
    assert (ran.code, ran.err) == (0, "")
    assert "redis://:***@nowhere.invalid:6379/0 (from COORDKIT_URL)" in ran.out
    assert "  23.198  none came: SIGTERM to the command's process group\n" in ran.out
    assert "  28.198  SIGKILL" in ran.out
    keys = lock_keys("default", "x")
    for key in (keys.lock, keys.queue, keys.fence):
        assert f" {key}\n" in ran.out
    assert not (program.directory / "ran").exists()


def test_explain_in_json(program: Program) -> None:
    (told,) = run(program, "--explain", "--json", "--ttl", "10", "x").objects
    assert told["v"] == 1
    assert (told["name"], told["namespace"], told["ttl"]) == ("x", "default", 10)
    at = told["at"]
    assert list(at) == ["renew", "renew_by", "stop", "kill", "end", "free"]
    assert list(at.values()) == sorted(at.values())
    assert at["kill"] - at["stop"] == pytest.approx(told["grace"])
    assert at["end"] - at["kill"] == pytest.approx(told["margin"])
    assert told["keys"]["lock"] == lock_keys("default", "x").lock
    for rule, gone in (("ignore", {"stop", "kill"}), ("signal:USR1", {"kill"})):
        (told,) = run(program, "--explain", "--json", "--on-lost", rule, "x").objects
        assert at.keys() - told["at"].keys() == gone
