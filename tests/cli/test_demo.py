"""`coordkit demo`: what it shows, where, that it notices, and that nothing is left."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.program import Program
from cli.traces import listens, marked, port_in
from support.servers import HOST, RedisServer, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals"),
]


@pytest.fixture
def temporary(program: Program) -> Path:
    """Where the demo may put files."""
    directory = program.home / "temporary"
    directory.mkdir()
    program.env["TMPDIR"] = str(directory)
    return directory


@pytest.fixture
def empty_path(program: Program) -> None:
    """A PATH without any server, which only works where none is in a usual place."""
    for directory in (
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/local/sbin",
        "/opt/homebrew",
    ):
        for found in ("redis-server", "valkey-server"):
            if any(Path(directory).glob(f"**/{found}")):
                pytest.skip(f"{found} is in {directory}")
    (program.home / "bin").mkdir()
    program.env["PATH"] = str(program.home / "bin")


# -- what it shows --------------------------------------------------------------------------

STORY = [
    *[("taken", "Ann"), ("waiting", "Bob"), ("waiting", "Cleo"), ("given", "Ann")],
    *[("taken", "Bob"), ("given", "Bob"), ("taken", "Cleo"), ("given", "Cleo")],
    *[("taken", "Ann"), ("waiting", "Bob"), ("waiting", "Cleo"), ("killed", "Ann")],
    *[("taken", "Bob"), ("written", "Bob"), ("frozen", "Bob"), ("taken", "Cleo")],
    *[("written", "Cleo"), ("thawed", "Bob"), ("lost", "Bob"), ("refused", "Bob")],
    *[("given", "Cleo"), ("elected", "Cleo"), ("waiting", "Bob"), ("killed", "Cleo")],
    ("elected", "Bob"),
]


def check_story(events: list[dict[str, Any]]) -> None:
    """Check that all four acts happened, by their facts."""
    assert {event["v"] for event in events} == {1}
    head, *cast = events[:4]
    assert head["event"] == "server"
    assert [member["event"] for member in cast] == ["started"] * 3
    end = events[-1]
    assert (end["event"], end["ok"]) == ("end", True)
    assert end["at"] < 15
    titles = [event for event in events if event["event"] == "act"]
    assert [title["act"] for title in titles] == [1, 2, 3, 4]
    story = [event for event in events if "worker" in event and "act" in event]
    assert [(event["event"], event["worker"]) for event in story] == STORY
    instants = [event["at"] for event in story]
    assert instants == sorted(instants)
    tokens = [event["token"] for event in story if event["event"] == "taken"]
    assert tokens == sorted(set(tokens))
    terms = [event["token"] for event in story if event["event"] == "elected"]
    assert tokens[-1] < terms[0] < terms[1]
    for killed, took in ((story[11], story[12]), (story[-2], story[-1])):
        assert 0 < took["at"] - killed["at"] < 2 + 1.5
    lost, refused = story[18:20]
    assert lost["reason"] == "expired"
    assert lost["over"] > 0
    assert (refused["token"], refused["seen"]) == (tokens[-2], tokens[-1])
    pids = {event["pid"] for event in story}
    assert pids == {member["pid"] for member in cast}
    assert len(pids) == 3


def test_four_acts_on_a_private_redis(
    program: Program, mark: str, temporary: Path
) -> None:
    ran = program.run("demo", "--json")
    assert (ran.code, ran.err) == (0, "")
    check_story(ran.objects)
    server = ran.objects[0]
    assert server["kind"] == "redis"
    assert not listens(port_in(server["where"]))
    assert marked(mark) == []
    assert list(temporary.iterdir()) == []
    assert list(program.directory.iterdir()) == []


def test_four_acts_on_fakeredis(program: Program, mark: str, temporary: Path) -> None:
    ran = program.run("demo", "--json", "--server", "fake")
    assert (ran.code, ran.err) == (0, "")
    check_story(ran.objects)
    server = ran.objects[0]
    assert server["kind"] == "fake"
    assert not listens(port_in(server["where"]))
    assert marked(mark) == []
    assert list(temporary.iterdir()) == []


def test_four_acts_on_a_given_redis_leave_nothing_there(
    program: Program, server: RedisServer, mark: str
) -> None:
    with server.client(db=7) as client:
        client.set("theirs", "1")
        url = server.url.replace("/0", "/7")
        ran = program.run("demo", "--json", env={"REDIS_URL": url})
        assert (ran.code, ran.err) == (0, "")
        check_story(ran.objects)
        where = ran.objects[0]
        assert (where["kind"], where["where"]) == ("given", url)
        assert re.fullmatch("demo-[0-9a-f]{12}", where["namespace"])
        assert client.keys("*") == [b"theirs"]
    assert marked(mark) == []


def test_people_are_told_what_they_see(program: Program) -> None:
    ran = program.run("demo")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Using a private ")
    lines = ran.out.splitlines()
    assert all(len(line) < 80 for line in lines)
    assert "\x1b" not in ran.out
    text = " ".join(ran.out.split())
    for words in (
        "it is gone when the demo ends.",
        "Act 1: three want it, one has it: first come, first served",
        "Act 2: the one that has it is killed",
        "is killed (SIGKILL)",
        "Act 3: the one that has it is frozen, and comes back too late",
        "looks at its own clock: the lease ended",
        "writes 120 all the same: REFUSED",
        "Act 4: one leads; the leader is killed, and the next one leads",
        "Two things take more than a lock.",
    ):
        assert words in text
    events = [line for line in lines if re.match(r" +[0-9]+\.[0-9]{2} s  \w", line)]
    assert len(events) == len(STORY)


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    program: Program, env: dict[str, str], coloured: bool
) -> None:
    with program.terminal("demo", env=env) as terminal:
        shown = terminal.see("has the lock")
        assert ("\x1b[" in shown) is coloured
        terminal.signal(signal.SIGINT)
        assert terminal.end() == 130


# -- where ----------------------------------------------------------------------------------


def first_line(program: Program, *args: str) -> str:
    """Return what a demo says first, and interrupt it."""
    with program.start("demo", *args) as child:
        child.wait_for_output("Act 1")
        child.sigint()
        assert child.wait() == 130
        return " ".join(child.output().partition("Ann")[0].split())


def test_it_says_where_it_plays(program: Program, server: RedisServer) -> None:
    told = first_line(program, "--url", server.url)
    assert told.startswith(f"Using {server.url} (from --url), in the namespace demo-")
    # what is asked for beats what is only there
    program.env["COORDKIT_URL"] = "redis://127.0.0.1:1/0"
    told = first_line(program, "--server", "redis")
    assert re.match(r"Using a private (Redis|Valkey) [0-9.]+ \(/.*\) on 127", told)


def test_a_file_of_settings_is_not_asked_where_to_play(program: Program) -> None:
    text = "url = 'redis://127.0.0.1:1/0'"
    (program.directory / "coordkit.toml").write_text(text)
    assert first_line(program).startswith("Using a private ")


def test_without_a_redis_it_plays_on_fakeredis(
    program: Program, empty_path: None
) -> None:
    told = first_line(program)
    assert told.startswith("Using fakeredis, a stand-in for Redis written in Python")


def test_without_anything_it_says_what_to_install(
    program: Program, empty_path: None
) -> None:
    said = program.run("demo", "--server", "redis").refused(69)
    assert "neither redis-server nor valkey-server is here: install" in said
    without = "import sys; sys.modules['lupa'] = None; sys.argv[0] = 'coordkit';"
    start = "from coordkit_cli.main import main; main()"
    program.argv = [sys.executable, "-c", without + start]
    said = program.run("demo").refused(69)
    assert "there is no Redis here" in said
    assert "pip install 'coordkit[demo]'" in said


def fake_server(program: Program, script: str) -> None:
    """Put something else in the place of redis-server."""
    path = program.home / "servers"
    path.mkdir()
    (path / "redis-server").write_text(f"#!/bin/sh\n{script}\n")
    (path / "redis-server").chmod(0o755)
    program.env["PATH"] = f"{path}{os.pathsep}{program.env['PATH']}"


def test_a_server_that_does_not_start_is_told(program: Program, mark: str) -> None:
    fake_server(program, "echo first; echo bad luck; exit 3")
    said = program.run("demo").refused(69)
    assert "redis-server does not start: bad luck; try coordkit demo --server" in said
    assert marked(mark) == []


def test_a_port_that_is_taken_meanwhile_is_not_used(
    program: Program, mark: str
) -> None:
    once = program.home / "once"
    real = f"PATH={program.env['PATH']!r} exec redis-server"
    fake_server(
        program,
        f'if [ -e {once} ]; then {real} "$@"; fi\n'
        f"touch {once}; cat >/dev/null; echo 'bind: Address already in use'; exit 1",
    )
    assert first_line(program).startswith("Using a private ")
    assert once.exists()
    assert marked(mark) == []


def test_a_given_server_that_is_not_there_is_told(program: Program, mark: str) -> None:
    url = f"redis://{HOST}:{free_port()}/0"
    said = program.run("demo", "--url", url).refused(69)
    assert "the URL comes from --url" in said
    assert "coordkit demo --server redis shows the same" in said
    assert marked(mark) == []


def test_a_given_server_that_forbids_it_is_told(
    program: Program, server: RedisServer, mark: str
) -> None:
    at = server.url.partition("//")[2]
    said = program.run("demo", "--url", f"redis://shop:pw@{at}").refused(77)
    assert "ACL" in said
    assert marked(mark) == []
