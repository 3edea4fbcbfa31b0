"""`coordkit cron`, in real processes: who runs a tick, what is told of it, and the check."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli.program import Program, Ran
from coordkit import Session
from coordkit._core.cron import cron
from coordkit._core.runs import Run, Seen, State
from coordkit_cli.cron.check import Health, judged
from support.polling import until
from support.processes import Child
from support.processes import runs as is_running
from support.servers import HOST, RedisServer, free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")

YEARLY = ("--every", "365d")


def told(coordkit: Program, name: str = "job") -> list[dict[str, Any]]:
    """Return the runs of a name, newest first."""
    return coordkit.run("cron", "history", name, "--json").objects


def ran(coordkit: Program, *args: str, **more: Any) -> Ran:
    return coordkit.run("cron", "run", *args, **more)


@pytest.fixture
def log(coordkit: Program) -> Path:
    """Where commands write that they ran."""
    return coordkit.home / "log"


# -- a tick --------------------------------------------------------------------------------


def test_the_line_of_the_readme_in_two_crontabs(coordkit: Program, log: Path) -> None:
    line = ("nightly", "--every", "1d", "--", "sh", "-c", f"env >> {log}")
    first, second = ran(coordkit, *line), ran(coordkit, *line)
    assert (first, second) == (Ran(0, "", ""), Ran(0, "", "")), "cron mails any output"
    (run,) = told(coordkit, "nightly")
    env = dict(
        text.split("=", 1) for text in log.read_text().splitlines() if "=" in text
    )
    assert env["COORDKIT_TICK"] == run["tick"]
    assert env["COORDKIT_FENCING_TOKEN"] == str(run["token"])
    assert env["COORDKIT_CRON"] == "nightly"
    assert env["COORDKIT_LOCK"] == "cron:nightly"
    assert env["COORDKIT_IDENTITY"] == run["identity"]
    assert "COORDKIT_URL" not in env
    assert (run["state"], run["exit"], run["attempt"]) == ("ok", 0, 1)
    assert run["lasted"] < 60


def test_a_schedule_runs_the_tick_that_is_past(coordkit: Program) -> None:
    line = ("--schedule", "0 3 * * *", "--tz", "Europe/Berlin", "job", "true")
    assert ran(coordkit, *line).code == 0
    said = ran(coordkit, "-v", *line)
    assert said.code == 0
    (run,) = told(coordkit)
    assert run["tick"][11:] in ("01:00:00Z", "02:00:00Z")
    assert run["schedule"] == "0 3 * * * Europe/Berlin"
    assert f"the tick of {run['tick']} was run by {run['identity']} (ok)" in said.err


def test_the_code_of_the_command_is_passed_on_and_written_down(
    coordkit: Program,
) -> None:
    assert ran(coordkit, *YEARLY, "job", "sh", "-c", "exit 42").code == 42
    assert ran(coordkit, *YEARLY, "dead", "sh", "-c", "kill -9 $$").code == 137
    assert [told(coordkit, name)[0]["exit"] for name in ("job", "dead")] == [42, 137]
    assert told(coordkit)[0]["state"] == "failed"


@pytest.mark.slow
def test_of_many_at_once_one_runs_it(coordkit: Program, log: Path) -> None:
    line = ("cron", "run", *YEARLY, "job", "sh", "-c", f"echo x >> {log}; sleep 1")
    with ExitStack() as stack:
        hosts = [stack.enter_context(coordkit.start(*line)) for _ in range(10)]
        assert [host.wait(60) for host in hosts] == [0] * 10
    assert log.read_text() == "x\n"
    assert [run["state"] for run in told(coordkit)] == ["ok"]


@pytest.mark.slow
def test_the_next_tick_is_run_again_with_a_higher_token(
    coordkit: Program, log: Path
) -> None:
    line = ("--every", "2s", "job", "sh", "-c", f"echo $COORDKIT_TICK >> {log}")

    def thrice() -> bool:
        assert ran(coordkit, *line).code == 0
        return log.exists() and len(log.read_text().split()) >= 3

    until(thrice, timeout=60, every=0.1)
    ticks = log.read_text().split()
    assert ticks == sorted(set(ticks))
    runs = told(coordkit)
    tokens = [run["token"] for run in reversed(runs)]
    assert tokens == sorted(set(tokens))
    assert [run["tick"] for run in reversed(runs)] == ticks


def test_until_it_succeeds(coordkit: Program, log: Path) -> None:
    fails_once = f"echo x >> {log}; test $(wc -l < {log}) -ge 2"
    line = (*YEARLY, "--attempts", "until-success:3", "job", "sh", "-c", fails_once)
    assert [ran(coordkit, *line).code for _ in range(3)] == [1, 0, 0]
    assert [(run["attempt"], run["state"]) for run in told(coordkit)] == [
        (2, "ok"),
        (1, "failed"),
    ]


def test_attempts_end(coordkit: Program) -> None:
    line = (*YEARLY, "--attempts", "until-success:2", "job", "false")
    assert [ran(coordkit, *line).code for _ in range(2)] == [1, 1]
    last = ran(coordkit, *line)
    assert last.code == 0
    assert "has failed 2 times" in last.err, "somebody should know"
    assert len(told(coordkit)) == 2


# -- while it runs ---------------------------------------------------------------------------

EACH_SECOND = ("--every", "1s", "--early", "0")


@pytest.fixture
def long_run(coordkit: Program, log: Path) -> Iterator[Child]:
    """A run of an earlier tick that goes on and on."""
    work = f"echo $$ > {log}; trap 'echo ended >> {log}; exit 1' TERM; sleep 600 & wait"
    args = ("cron", "run", *EACH_SECOND, "--ttl", "2s", "-k", "500ms", "job")
    with coordkit.start(*args, "sh", "-c", work) as child:
        until(lambda: log.exists() and log.read_text())
        first = told(coordkit)[0]["tick"]

        def next_turn() -> bool:
            skipped = ran(coordkit, *EACH_SECOND, "-v", "job", "false")
            return "still runs the tick of" in skipped.err and skipped.code == 0

        until(next_turn, timeout=20)
        assert told(coordkit)[0]["tick"] == first
        yield child


def an_hour_ago(server: RedisServer) -> None:
    """Have the last run be of the tick an hour before its own."""
    key = cron("default", "job", 2.0).runs
    with server.client() as client:
        lines: Any = client.lrange(key, 0, 0)
        rid, tick, *more = lines[0].decode().split("\n")
        client.lset(key, 0, "\n".join([rid, str(int(tick) - 3_600_000), *more]))


HOURLY = ("--every", "1h", "--early", "30m")


@pytest.mark.slow
def test_it_is_waited_for(
    coordkit: Program, long_run: Child, session: Session, server: RedisServer
) -> None:
    an_hour_ago(server)
    args = ("cron", "run", *HOURLY, "--overlap", "wait", "job", "echo", "at last")

    def waits() -> bool:
        info = session.lock("cron:job").info()
        return info is not None and info.waiters == 1

    with coordkit.start(*args) as waiter:
        until(waits, timeout=20)
        long_run.sigterm()
        long_run.wait()
        assert waiter.wait(30) == 0
        assert "at last" in waiter.output()
    assert [run["state"] for run in told(coordkit)] == ["ok", "failed"]


@pytest.mark.slow
def test_it_is_replaced(
    coordkit: Program, long_run: Child, log: Path, server: RedisServer
) -> None:
    an_hour_ago(server)
    args = (*HOURLY, "--overlap", "replace", "job", "echo", "mine now")
    assert ran(coordkit, *args).out == "mine now\n"
    assert long_run.wait() == 76, long_run.output()
    assert "ended" in log.read_text()
    ends = [(run["state"], run["exit"]) for run in told(coordkit)]
    assert ends == [("ok", 0), ("failed", 76)]


@pytest.mark.slow
def test_a_host_that_dies_has_spent_the_tick(
    coordkit: Program, log: Path, session: Session
) -> None:
    args = ("cron", "run", *YEARLY, "--ttl", "2s", "job", "sh", "-c")
    with coordkit.start(*args, f"echo $$ > {log}; exec sleep 600") as host:
        until(lambda: log.exists() and log.read_text())
        assert told(coordkit)[0]["state"] == "running"
        assert "being run by" in ran(coordkit, "-v", *YEARLY, "job", "true").err
        host.sigkill()
        until(lambda: not is_running(int(log.read_text())))
    until(lambda: told(coordkit)[0]["state"] == "lost")
    again = ran(coordkit, "-v", *YEARLY, "job", "true")
    assert again.code == 0
    assert "(lost)" in again.err
    assert coordkit.run("cron", "status", "job").out.split()[2] == "lost"
    line = (*YEARLY, "--attempts", "until-success:2", "job", "true")
    assert ran(coordkit, *line).code == 0
    assert [run["state"] for run in told(coordkit)] == ["ok", "lost"]


@pytest.mark.slow
def test_a_run_that_is_interrupted_is_written_down(
    coordkit: Program, log: Path
) -> None:
    args = (
        "cron",
        "run",
        *YEARLY,
        "job",
        "sh",
        "-c",
        f"echo $$ > {log}; exec sleep 600",
    )
    with coordkit.start(*args) as host:
        until(lambda: log.exists() and log.read_text())
        host.sigterm()
        assert host.wait() == 143
    (run,) = told(coordkit)
    assert (run["state"], run["exit"]) == ("failed", 143)


def test_events_tell_of_ticks(coordkit: Program) -> None:
    status = coordkit.directory / "status.json"
    args = (*YEARLY, "--status-file", "status.json", "job", "true")
    assert ran(coordkit, *args).code == 0
    told_of = json.loads(status.read_text())
    (run,) = told(coordkit)
    assert (told_of["tick"], told_of["attempt"]) == (run["tick"], 1)
    assert ran(coordkit, *args).code == 0
    skipped = json.loads(status.read_text())
    assert (skipped["why"], skipped["by"]) == ("done", run["identity"])
    assert skipped["exit"] == 0


# -- what goes wrong -------------------------------------------------------------------------


def test_no_redis_is_69_and_nothing_is_run(program: Program) -> None:
    url = f"redis://{HOST}:{free_port()}/0"
    args = ("--url", url, *YEARLY, "--ttl", "1s", "-k", "100ms", "job")
    said = ran(program, *args, "touch", "ran").refused(69)
    assert "is it running?" in said
    assert not (program.directory / "ran").exists()


def test_a_command_that_is_not_there_spends_no_tick(coordkit: Program) -> None:
    ran(coordkit, *YEARLY, "job", "no-such-command").refused(127)
    assert coordkit.run("cron", "history", "job").code == 1


@pytest.mark.slow
def test_an_outage_is_ridden_out(coordkit: Program, server: RedisServer) -> None:
    server.pause()
    args = ("cron", "run", *YEARLY, "job", "echo", "all the same")
    with coordkit.start(*args) as host:
        try:
            with pytest.raises(AssertionError):
                host.wait(4)  # two time-outs
        finally:
            server.resume()
        assert host.wait(40) == 0
        assert host.output() == "all the same\n"


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["job", "true"], 64, "say when: --every 1h or --schedule"),
        (["--every", "1h", "--schedule", "@daily", "job", "true"], 64, "say when"),
        (["--every", "often", "job", "true"], 64, "'often' is no duration"),
        (["--every", "0", "job", "true"], 64, "every=0.0 is not between 1 and"),
        (["--every", "1h", "--tz", "UTC", "job", "true"], 64, "--tz is for --schedule"),
        (["--schedule", "* * *", "job", "true"], 64, "'* * *' is no schedule"),
        (["--schedule", "99 * * * *", "job", "true"], 64, "Bad minute"),
        (["--schedule", "@daily", "--tz", "Mars", "job", "true"], 64, "no time zone"),
        ([*YEARLY, "--attempts", "twice", "job", "true"], 64, "until-success:3"),
        ([*YEARLY, "--attempts", "until-success:0", "job", "true"], 64, "neither once"),
        (
            [*YEARLY, "--overlap", "maybe", "job", "true"],
            64,
            "'skip', 'wait', 'replace'",
        ),
        ([*YEARLY, "job"], 64, "what to run"),
        ([*YEARLY, "a\nb", "true"], 64, "control character"),
        (["job", *YEARLY, "true"], 64, "cron run --every 365d job -- true"),
        (["job", *YEARLY, "x", "--", "true"], 64, "options go before the name"),
        (["job", "--nope", "--", "true"], 64, "No such option"),
        ([*YEARLY, "--ttl", "1s", "-k", "9s", "job", "true"], 78, "do not fit"),
    ],
)
def test_wrong_usage(program: Program, args: list[str], code: int, says: str) -> None:
    assert says in ran(program, *args).refused(code)


@pytest.mark.parametrize(
    "args",
    [
        ["job", "-v", *YEARLY, "--", "echo", "--every"],
        [*YEARLY, "job", "echo", "--every"],
        [*YEARLY, "job", "--", "echo", "--every"],
        ["--every", "9d", "job", *YEARLY, "--", "echo", "--every"],
    ],
)
def test_options_may_stand_behind_the_name_if_something_ends_them(
    coordkit: Program, args: list[str]
) -> None:
    assert ran(coordkit, *args).out == "--every\n"


def test_a_second_dash_dash_is_the_commands(coordkit: Program) -> None:
    assert ran(coordkit, *YEARLY, "a", "echo", "-n", "--", "x").out == "-- x"
    assert ran(coordkit, "b", *YEARLY, "--", "echo", "--", "x").out == "-- x\n"


def test_without_cronsim_it_says_what_to_install(coordkit: Program) -> None:
    without = "import sys; sys.modules['cronsim'] = None; sys.argv[0] = 'coordkit';"
    start = "from coordkit_cli.main import main; main()"
    coordkit.argv = [sys.executable, "-c", without + start]
    said = ran(coordkit, "--schedule", "@daily", "job", "true").refused(78)
    assert "pip install 'coordkit[cron]'" in said
    assert ran(coordkit, "--every", "1d", "job", "true").code == 0


def test_explain_shows_the_keys_and_runs_nothing(program: Program) -> None:
    shown = ran(program, *YEARLY, "--explain", "job", "touch", "ran")
    assert shown.code == 0
    assert ":runs:job" in shown.out
    assert ":lock:cron:job" in shown.out
    assert not (program.directory / "ran").exists()


# -- what is shown ---------------------------------------------------------------------------


def test_what_was_never_run(coordkit: Program) -> None:
    for verb in ("status", "history"):
        assert coordkit.run("cron", verb, "job") == Ran(1, "job was never run\n", "")
        assert coordkit.run("cron", verb, "job", "-q").out == ""
        (record,) = coordkit.run("cron", verb, "job", "--json").objects
        assert (record["name"], record["state"]) == ("job", "never")
    assert coordkit.run("cron", "status") == Ran(0, "", "")


def test_status_of_all_names(coordkit: Program) -> None:
    for name, command in (("b", "true"), ("a: 日本", "false")):
        ran(coordkit, *YEARLY, name, command)
    lines = coordkit.run("cron", "status").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["a: 日本", "b"]
    assert "failed, exit 1" in lines[0]
    found = coordkit.run("cron", "status", "--json").objects
    assert [(run["name"], run["state"]) for run in found] == [
        ("a: 日本", "failed"),
        ("b", "ok"),
    ]
    with coordkit.terminal("cron", "status") as terminal:
        assert "NAME" in terminal.see("HOST")


def test_history_is_as_long_as_was_asked(coordkit: Program) -> None:
    line = (*YEARLY, "--attempts", "until-success:9", "job", "false")
    for _ in range(3):
        ran(coordkit, *line)
    lines = coordkit.run("cron", "history", "job", "-n", "2").out.splitlines()
    assert len(lines) == 2
    assert "failed, exit 1 (try 3)" in lines[0]
    assert len(told(coordkit)) == 3


def test_names_complete(coordkit: Program) -> None:
    for name in ("nightly", "hourly"):
        ran(coordkit, *YEARLY, name, "true")
    words = {"COMP_WORDS": "coordkit cron status ni", "COMP_CWORD": "3"}
    done = coordkit.run(env={"_COORDKIT_COMPLETE": "bash_complete", **words})
    assert "nightly" in done.out
    assert "hourly" not in done.out


# -- the check -------------------------------------------------------------------------------


def a_run(state: State, ended_ago: float | None) -> Run:
    ended = None if ended_ago is None else int(1e12 - ended_ago * 1000)
    since = int(1e12) - 90_000_000
    code = {State.OK: 0, State.FAILED: 7}.get(state)
    return Run("r", since, 1, since, ended, state, code, 1, "web-1", "every 1 s")


OK, FAILED, LOST, RUNNING = State.OK, State.FAILED, State.LOST, State.RUNNING


@pytest.mark.parametrize(
    ("runs", "health"),
    [
        ([], Health.UNKNOWN),
        ([(OK, 60)], Health.OK),
        ([(OK, 4000)], Health.CRITICAL),
        ([(FAILED, 60), (OK, 2000)], Health.WARNING),
        ([(LOST, None), (OK, 2000)], Health.WARNING),
        ([(FAILED, 60), (OK, 4000)], Health.CRITICAL),
        ([(RUNNING, None), (OK, 2000)], Health.OK),
        ([(RUNNING, None), (OK, 4000)], Health.CRITICAL),
        ([(RUNNING, None)], Health.CRITICAL),
        ([(FAILED, 60)], Health.CRITICAL),
        ([(LOST, None)], Health.CRITICAL),
    ],
)
def test_how_it_is(runs: list[tuple[State, float | None]], health: Health) -> None:
    seen = Seen(int(1e12), [a_run(state, ago) for state, ago in runs])
    assert judged(seen, 3600.0).health is health


def test_the_check_speaks_as_nagios_wants_it(coordkit: Program) -> None:
    check = ("cron", "check", "job", "--max-age", "1h")
    assert coordkit.run(*check).out.startswith("UNKNOWN: job: it was never run")
    ran(coordkit, *YEARLY, "job", "true")
    good = coordkit.run(*check)
    assert good.code == 0
    assert good.out.startswith("OK: job: succeeded ")
    assert good.out.split("|")[1].startswith(" age=")
    (record,) = coordkit.run(*check, "--json").objects
    assert (record["health"], record["max_age"]) == ("OK", 3600.0)
    ran(coordkit, "--every", "9d", "bad", "false")
    bad = coordkit.run("cron", "check", "bad", "--max-age", "1h")
    assert (bad.code, bad.out.split(":")[0]) == (2, "CRITICAL")
    assert bad.out.rstrip().endswith("| age=U;;3600")


def test_no_answer_is_unknown(program: Program) -> None:
    url = f"redis://{HOST}:{free_port()}/0"
    done = program.run("cron", "check", "job", "--max-age", "1h", "--url", url)
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("UNKNOWN: job: no answer from ")
    assert done.out.count("\n") == 1


def test_a_signal_while_it_waits_starts_nothing(
    coordkit: Program, server: RedisServer
) -> None:
    server.pause()
    try:
        with coordkit.start(
            "cron", "run", "-v", *YEARLY, "job", "touch", "ran"
        ) as host:
            host.wait_for_output("\n")  # it has told whom it is about to ask
            host.sigint()
            assert host.wait() == 128 + signal.SIGINT
    finally:
        server.resume()
    assert not (coordkit.directory / "ran").exists()
