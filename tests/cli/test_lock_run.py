"""`coordkit lock run`: what the command gets, and every reason not to run it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.program import Program, Ran
from coordkit import LockInfo, Session
from support.guards import Guarded, shell
from support.history import now
from support.polling import until
from support.servers import RedisServer, free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")

#: Prints its environment, and nothing else.
ENV = ("/usr/bin/env",)


def run(program: Program, *words: str, **more: Any) -> Ran:
    return program.run("lock", "run", *words, **more)


def environment(ran: Ran) -> dict[str, str]:
    assert (ran.code, ran.err) == (0, "")
    return dict(line.split("=", 1) for line in ran.out.splitlines())


def held(session: Session, name: str = "x") -> LockInfo | None:
    return session.lock(name).info()


# -- what the command gets ----------------------------------------------------------------


def test_it_is_told_what_it_holds(coordkit: Program, session: Session) -> None:
    told = environment(run(coordkit, "--namespace", "shop", "a name", *ENV))
    ours = {key: value for key, value in told.items() if key.startswith("COORDKIT")}
    lease_file = Path(ours.pop("COORDKIT_LEASE_FILE"))
    assert int(ours.pop("COORDKIT_FENCING_TOKEN")) > 10**15
    assert ours.pop("COORDKIT_IDENTITY").count(":") == 2
    assert ours.pop("COORDKIT_URL_WITHHELD") == "1"
    assert ours == {"COORDKIT_LOCK": "a name", "COORDKIT_NAMESPACE": "shop"}
    assert not lease_file.exists()
    assert session.locks() == []


def test_it_is_told_no_password(coordkit: Program, server: RedisServer) -> None:
    secret = {"COORDKIT_URL": server.url, "REDIS_URL": "redis://:se-cret@h/0"}
    assert (
        secret.keys() & environment(run(coordkit, "x", *ENV, env=secret)).keys()
        == set()
    )
    told = environment(run(coordkit, "--pass-url", "x", *ENV, env=secret))
    assert {key: told[key] for key in secret} == secret


def test_it_does_not_take_another_server_for_ours(
    coordkit: Program, program: Program, server: RedisServer
) -> None:
    """It was given a URL, and its command was not: the default would be another one."""
    again = (sys.executable, "-m", "coordkit_cli", "lock", "check", "x")
    (coordkit.directory / "coordkit.toml").write_text("url = 'redis://other/0'")
    ran = run(coordkit, "x", *again)
    assert ran.code == 78
    assert "the URL was left out of the environment of this command" in ran.err
    assert run(coordkit, "--pass-url", "x", *again).code == 0
    assert run(coordkit, "x", *again, "--url", server.url).code == 0
    assert run(coordkit, "--url", server.url, "--pass-url", "x", *again).code == 0
    del coordkit.env["COORDKIT_URL"]
    assert run(coordkit, "--url", server.url, "--pass-url", "x", *again).code == 78
    (coordkit.directory / "coordkit.toml").write_text(f"url = '{server.url}'")
    assert run(coordkit, "x", *again).code == 0


def test_it_may_know_where_the_url_is(program: Program, server: RedisServer) -> None:
    (program.directory / "secret").write_text(server.url)
    told = environment(run(program, "--url-file", "secret", "x", *ENV))
    assert told["COORDKIT_URL_FILE"] == str(program.directory / "secret")
    again = (sys.executable, "-m", "coordkit_cli", "lock", "check", "x")
    moved = ("/bin/sh", "-c", f"cd / && exec {shlex.join(again)}")
    assert run(program, "--url-file", "secret", "x", *moved).code == 0


def test_tokens_rise(coordkit: Program) -> None:
    tokens = [
        int(run(coordkit, "-c", "echo $COORDKIT_FENCING_TOKEN", "x").out)
        for _ in range(3)
    ]
    assert tokens == sorted(set(tokens))


def test_its_streams_are_ours(coordkit: Program) -> None:
    ran = run(coordkit, "x", "sh", "-c", "cat; echo err >&2", stdin="in\0 \r\n")
    assert ran == (0, "in\0 \r\n".replace("\r\n", "\n"), "err\n")


def test_other_files_are_passed_on_and_none_of_ours(coordkit: Program) -> None:
    reading, writing = os.pipe()
    script = f"echo passed >/proc/self/fd/{writing}; ls -l /proc/self/fd"
    done = subprocess.run(
        [*coordkit.argv, "lock", "run", "-c", script, "x"],
        pass_fds=[writing],
        capture_output=True,
        text=True,
        cwd=coordkit.directory,
        env=coordkit.env,
        check=True,
    )
    os.close(writing)
    assert os.read(reading, 100) == b"passed\n"
    os.close(reading)
    lines = [line for line in done.stdout.splitlines() if " -> " in line]
    # The three streams, the one that was passed, and the directory that ls reads.
    assert len(lines) == 5, done.stdout


def test_its_signals_are_those_that_we_were_started_with(coordkit: Program) -> None:
    def masks(*under: str) -> dict[str, int]:
        argv = [*under, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]
        # By its path, all are started in the same way: it shows in their signals.
        argv[0] = shutil.which(argv[0]) or argv[0]
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            text=True,
            env=coordkit.env,
            check=True,
        )
        lines = [line.split(":\t") for line in done.stdout.splitlines()]
        return {name: int(mask, 16) for name, mask in lines}

    run = (*coordkit.argv, "lock", "run", "x")
    assert masks(*run) == masks()
    assert masks("nohup", *run) == masks("nohup")
    assert masks("nohup") != masks()


def test_the_lease_file_follows_the_renewals(
    coordkit: Program, session: Session
) -> None:
    with Guarded(
        coordkit, "x", shell("ready; exec sleep 600"), "--ttl", "2"
    ) as guarded:
        guarded.ready()
        first = guarded.deadline()
        assert now() < first < now() + 2
        until(lambda: guarded.deadline() > first)
        guarded.guard.sigterm()
        assert guarded.guard.wait() == 143
        assert not guarded.lease_file.exists()


def test_a_lock_that_was_handed_over_is_had_for_all_of_its_ttl(
    coordkit: Program, session: Session
) -> None:
    lease = session.lock("x").acquire()
    with Guarded(coordkit, "x", shell("ready; exec sleep 600")) as guarded:
        until(lambda: getattr(held(session), "waiters", 0) == 1)
        lease.release()
        guarded.ready()
        assert guarded.deadline() - now() > 20


def test_others_are_told_why(coordkit: Program, session: Session) -> None:
    command = shell("ready; exec sleep 600")
    with Guarded(coordkit, "x", command, "--reason", "night run") as guarded:
        guarded.ready()
        assert "night run" in coordkit.run("lock", "show", "x").out
        info = held(session)
        assert info is not None
        assert info.meta == {"reason": "night run"}
        assert info.identity == guarded.state["identity"]


# -- how a command is typed ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["x", "echo", "-n", "a b"], "a b"),
        (["x", "--", "echo", "-n", "--", "a"], "-- a"),
        (["--", "x", "printf", "%s", "-e"], "-e"),
        (["--ttl=5", "-w", "1s", "x", "echo", "--ttl", "9"], "--ttl 9\n"),
        (["-c", "echo $0; echo $#", "x"], "/bin/sh\n0\n"),
    ],
)
def test_what_follows_the_name_is_the_command(
    coordkit: Program, words: list[str], out: str
) -> None:
    assert run(coordkit, *words) == (0, out, "")


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["x", "--ttl", "5", "ls", "-l"], "--ttl 5 x -- ls -l"),
        (["-n", "x", "--ttl=5", "--", "ls"], "-n --ttl=5 x -- ls"),
        (["x", "-n"], "-n x -- COMMAND"),
        (["a name", "-n", "ls"], "-n 'a name' -- ls"),
        (["x", "-la", "ls"], "[OPTIONS] x -- COMMAND"),
        (["x", "--url", "redis://:pw@h", "ls"], "--url '…' x -- ls"),
    ],
)
def test_an_option_behind_the_name_is_refused(
    coordkit: Program, words: list[str], typed: str
) -> None:
    said = run(coordkit, *words).refused(64)
    assert f"options go before the name: coordkit lock run {typed}; see" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing argument 'NAME'"),
        (["x"], "Missing argument 'COMMAND'"),
        (["-c", "true", "x", "true"], "-c and COMMAND exclude each other"),
        (["-n", "-w", "1", "x", "true"], "--nonblock and --wait exclude each other"),
        (["--shared", "--slots", "2", "x", "true"], "--shared and --slots exclude"),
        (["--slots", "0", "x", "true"], "0 is not in the range"),
        (["--slots", "2", "--hold-at-least", "1", "x", "true"], "held alone"),
        (["-E", "256", "x", "true"], "256 is not in the range 0<=x<=255"),
        (["--ttl", "5 weeks", "x", "true"], "'5 weeks' is no duration"),
        (["--ttl", "0.04", "x", "true"], "ttl=0.04 is not between 0.05 and 604800 s"),
        (["--ttl", "8d", "x", "true"], "not between"),
        (["-w", "400d", "x", "true"], "not between"),
        (["--max-runtime", "0", "x", "true"], "leaves no time"),
        (["--stop-signal", "TREM", "x", "true"], "'TREM' is no signal: write TERM,"),
        (["--stop-signal", "0", "x", "true"], "'0' is no signal"),
        (["--on-lost", "explode", "x", "true"], "neither stop, signal:SIG nor ignore"),
        (["--on-lost", "signal:FOO", "x", "true"], "'FOO' is no signal"),
        (["--event-fd", "77", "x", "true"], "77 is not open: add 77>FILE"),
        (["--event-fd", "0", "x", "true"], "0 is open for reading only"),
        (["--event-fd", "out", "x", "true"], "'out' is no number"),
        (["a\x1bb", "true"], r"'a\x1bb' contains the control character"),
    ],
)
def test_wrong_usage_is_64_and_nothing_is_run(
    coordkit: Program, session: Session, words: list[str], says: str
) -> None:
    assert says in run(coordkit, *words).refused(64)
    assert session.locks() == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["-k", "20", "x", "true"],
            (
                "20s between the stop signal and SIGKILL do not fit into a lease of 30s: "
                "a renewal may come as late as 15s, and all must be over at 28.198s; "
                "type --kill-after 13.198s at most, or --ttl 46s at least"
            ),
        ),
        (
            ["--ttl", "300ms", "x", "true"],
            (
                "a lease of 0.3s is too short to end a command in: a renewal may come as "
                "late as 0.15s, and all must be over at 0.044s; type --ttl 1s at least"
            ),
        ),
        (
            ["--status-file", "no/such", "x", "true"],
            "cannot write the status to no/such",
        ),
    ],
)
def test_what_cannot_be_kept_is_78_and_nothing_is_run(
    coordkit: Program, words: list[str], says: str
) -> None:
    assert says in run(coordkit, *words).refused(78)


def test_what_it_says_to_type_can_be_typed(coordkit: Program) -> None:
    for words in (["-k", "13.198"], ["--ttl", "46", "-k", "20"], ["--ttl", "1s"]):
        assert run(coordkit, *words, "x", "true").code == 0


# -- what cannot be run -------------------------------------------------------------------


def test_a_command_that_is_not_there_is_127(
    coordkit: Program, session: Session
) -> None:
    said = run(coordkit, "x", "nosuch").refused(127)
    assert "nowhere on PATH is a command 'nosuch'; nothing was done" in said
    assert "there is no command './nosuch'" in run(coordkit, "x", "./nosuch").refused(
        127
    )
    assert run(coordkit, "x", "").refused(127)
    assert session.locks() == []


def test_a_command_that_cannot_be_executed_is_126(coordkit: Program) -> None:
    (coordkit.directory / "no-program").write_text("")
    for word in ("./no-program", "/"):
        assert "cannot be executed" in run(coordkit, "x", word).refused(126)
    path = f"{coordkit.directory}:{coordkit.env['PATH']}"
    said = run(coordkit, "x", "no-program", env={"PATH": path}).refused(126)
    assert "/no-program'" in said


def test_a_command_that_turns_out_not_to_be_one(
    coordkit: Program, session: Session
) -> None:
    script = coordkit.directory / "script"
    for text, code in (
        ("#!/no/such/interpreter\n", 127),
        ("#!/etc\n", 126),
        ("exit $1", 5),  # without "#!": one for the shell
    ):
        script.write_text(text)
        script.chmod(0o755)
        ran = run(coordkit, "x", "./script", "5")
        assert (ran.code, ran.out) == (code, "")
        assert session.locks() == []
        if code != 5:
            ran.refused(code)


def test_a_server_that_is_away_is_69_and_nothing_is_run(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    words = ("--url", url, "x", "touch", "ran")
    said = run(program, "-n", *words).refused(69)
    assert f"{url}: " in said
    assert "is it running? The URL comes from --url" in said
    assert run(program, "--ttl", "1", *words).code == 69
    assert not (program.directory / "ran").exists()


def test_a_server_that_refuses_is_77_and_nothing_is_run(
    coordkit: Program, server: RedisServer
) -> None:
    url = server.url.replace("//", "//shop:pw@")
    run(coordkit, "--url", url, "x", "touch", "ran").refused(77)
    assert not (coordkit.directory / "ran").exists()


def test_a_namespace_that_is_wrong_is_78(coordkit: Program) -> None:
    for more in ([], ["--explain"]):
        said = run(coordkit, *more, "--namespace", "a b", "x", "true").refused(78)
        assert "--namespace: namespace 'a b' is not 1 to 64 characters" in said


@pytest.mark.parametrize("url", ["nonsense", "redis://h:x", "redis://:p/w@x@h"])
def test_a_url_that_is_wrong_is_78(program: Program, url: str) -> None:
    said = run(program, "--url", url, "x", "true").refused(78)
    assert said.startswith("coordkit: --url: ")


def test_without_posix_it_says_so(program: Program) -> None:
    without = "import os; del os.fork; import sys; sys.argv[0] = 'coordkit';"
    start = "from coordkit_cli.main import main; main()"
    program.argv = [sys.executable, "-c", without + start]
    said = run(program, "x", "true").refused(78)
    assert "coordkit lock run needs POSIX, for process groups and signals" in said


# -- when others have the lock ------------------------------------------------------------


def test_busy_is_75_and_says_who(coordkit: Program, session: Session) -> None:
    with session.lock("x").acquire():
        for words in (["-n"], ["-w", "0"], ["--wait=50ms"]):
            said = run(coordkit, *words, "x", "true").refused(75)
            assert f"x is held by {session.identity} (token " in said


def test_busy_may_be_another_code_or_a_success(
    coordkit: Program, session: Session
) -> None:
    with session.lock("x").acquire():
        assert run(coordkit, "-n", "-E", "7", "x", "true").code == 7
        assert run(coordkit, "-n", "--skip-ok", "x", "false") == (0, "", "")
    assert run(coordkit, "-n", "--skip-ok", "x", "false").code == 1


def test_it_waits_for_its_turn(coordkit: Program, session: Session) -> None:
    with session.lock("x").acquire() as lease:
        child = coordkit.start("lock", "run", "x", "true")
        until(lambda: getattr(held(session), "waiters", 0) == 1)
        lease.release()
        with child:
            assert child.wait() == 0


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
)
def test_a_wait_can_be_interrupted(
    coordkit: Program, session: Session, signum: signal.Signals
) -> None:
    with session.lock("x").acquire():
        with coordkit.start("lock", "run", "x", "touch", "ran") as child:
            until(lambda: getattr(held(session), "waiters", 0) == 1)
            os.kill(child.pid, signum)
            assert child.wait() == 128 + signum
            assert child.output() == ""
        assert getattr(held(session), "waiters", 1) == 0
    assert not (coordkit.directory / "ran").exists()


def test_slots_and_sharing(coordkit: Program, session: Session) -> None:
    lock = session.lock("x", slots=2)
    with lock.acquire():
        assert run(coordkit, "-n", "--slots", "2", "x", "true").code == 0
        with lock.acquire():
            assert run(coordkit, "-n", "--slots", "2", "x", "true").code == 75
        said = run(coordkit, "-n", "--slots", "3", "x", "true").refused(78)
        assert "is shared with slots=2 at present, not with slots=3" in said
    with session.lock("y", shared=True).acquire():
        assert run(coordkit, "-n", "--shared", "y", "true").code == 0
        assert run(coordkit, "-n", "y", "true").code == 75


def test_a_short_command_may_hold_it_longer(
    coordkit: Program, session: Session
) -> None:
    assert run(coordkit, "--hold-at-least", "1m", "x", "true").code == 0
    info = held(session)
    assert info is not None
    assert info.mode == "cooling"
    assert 50 < info.expires_in <= 60
