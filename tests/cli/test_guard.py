"""
The guard and its shim: whatever happens to whom, the command does not outlive its lease.

A smaller budget of what ``python -m bench.guard`` shows; with COORDKIT_TESTS_TRIALS=200
it is as large.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.guard import codes, crowd, trials
from cli.program import Program
from coordkit import LockInfo, Session
from coordkit._core.keys import lock_keys
from support.groups import PROC, groups, processes, with_variable
from support.guards import COMMANDS, MARK, Guarded, shell
from support.history import now
from support.matrix import CELLS, SIGNALS, expected, seen, table
from support.polling import until
from support.processes import runs
from support.servers import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
]

TRIALS = int(os.environ.get("COORDKIT_TESTS_TRIALS", "6"))
#: Runs a program as the first process of a container.
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc")
FAMILY = COMMANDS["shell with a grandchild"]
#: What a busy machine keeps up with.
TTL = ("--ttl", "2", "--kill-after", "0.3")


# -- what is promised ---------------------------------------------------------------------


@pytest.mark.parametrize("what", trials.KINDS)
def test_the_group_is_gone_before_its_lease(program: Program, what: str) -> None:
    kind = trials.KINDS[what]
    done = trials.run(what, program, number=TRIALS, together=6, ttl=2.0)
    assert len(done) == TRIALS
    assert [trial for trial in done if trial.left <= 0] == []
    assert {trial.kept for trial in done} == {True if kind.asked else None}
    assert {trial.code for trial in done} == {kind.code}


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_signals_to_the_guard(coordkit: Program, signum: str, command: str) -> None:
    assert seen(coordkit, signum, command) == expected(signum, command)


def test_the_matrix_has_a_line_for_each_signal() -> None:
    lines = table({cell: expected(*cell) for cell in CELLS}).splitlines()
    assert len(lines) == 2 + len(SIGNALS)
    assert {line.count("|") for line in lines} == {2 + len(COMMANDS)}
    assert lines[4].startswith("| SIGTERM | gone, 143 | gone, 143 | runs on, with its")


def test_codes_and_deaths_are_passed_on(coordkit: Program) -> None:
    some = (0, 1, 2, 64, 69, 75, 76, 77, 78, 124, 125, 126, 127, 128, 255)
    exits = list(range(256)) if TRIALS >= 200 else some
    assert codes.of_exits(coordkit, exits) == {code: code for code in exits}
    deaths = codes.of_deaths(coordkit)
    assert len(deaths) >= 20
    assert deaths == {signum: 128 + signum for signum in deaths}


def test_a_crowd_runs_one_after_another(coordkit: Program, session: Session) -> None:
    came = crowd.run(coordkit, 50)
    assert came.codes == [0] * 50
    assert came.ran == 50
    came.check()
    assert session.locks() == []
    session.lock("crowd").acquire(5).release()  # nobody is left in the queue


# -- guard and shim -----------------------------------------------------------------------


@pytest.fixture
def guarded(coordkit: Program) -> Iterator[Guarded]:
    """A guard that runs a shell with two children."""
    with Guarded(coordkit, "x", FAMILY, *TTL) as guarded:
        yield guarded.ready()


def lock_of(session: Session) -> LockInfo | None:
    return session.lock("x").info()


def test_whoever_kills_the_guard_with_its_group_does_not_hit_the_shim(
    guarded: Guarded,
) -> None:
    shim = guarded.shim
    os.killpg(guarded.guard.pid, signal.SIGKILL)
    assert guarded.gone_at() < guarded.last_deadline
    until(lambda: not runs(shim))


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="names are Linux's")
def test_whoever_kills_the_guard_by_its_name_does_not_hit_the_shim(
    guarded: Guarded,
) -> None:
    """As `killall coordkit` or `pkill -f coordkit` would."""
    names = [(PROC / f"{pid}/comm").read_text() for pid in guarded.pids]
    lines = [(PROC / f"{pid}/cmdline").read_bytes() for pid in guarded.pids]
    assert names[1] == "ck-shim\n" != names[0]
    assert b"coordkit" in lines[0]
    title = f"ck-shim of {guarded.guard.pid}".encode()
    assert lines[1].rstrip(b"\0") == title


def test_the_shim_is_small(guarded: Guarded) -> None:
    rollup = (PROC / f"{guarded.shim}/smaps_rollup").read_text()
    private = sum(
        int(line.split()[1]) for line in rollup.splitlines() if "Private_" in line
    )
    assert private < 10_000  # KiB; a guard with redis has thrice as many


def test_neither_answers_to_what_is_sent_to_everybody(guarded: Guarded) -> None:
    """As systemd sends SIGTERM to all processes of a service."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        os.kill(guarded.shim, number)
    deadline = guarded.deadline()
    until(lambda: guarded.deadline() > deadline)
    assert len(guarded.members) == 3


def test_a_frozen_shim_is_replaced_by_its_guard(
    guarded: Guarded, server: RedisServer
) -> None:
    os.kill(guarded.shim, signal.SIGSTOP)
    with server.client() as client:
        client.delete(lock_keys("default", "x").lock)
    assert guarded.gone_at() < guarded.last_deadline
    assert guarded.guard.wait() == 76
    assert "its key is gone from the server" in guarded.guard.output()


def test_a_guard_that_wakes_up_too_late_touches_nothing_of_the_next(
    guarded: Guarded, session: Session
) -> None:
    os.kill(guarded.guard.pid, signal.SIGSTOP)
    guarded.gone_at()
    with session.lock("x", ttl=30).acquire(10) as lease:
        os.kill(guarded.guard.pid, signal.SIGCONT)
        assert guarded.guard.wait() == 76
        lease.renew()
        assert (info := lock_of(session)) is not None
        assert (info.token, info.waiters) == (lease.token, 0)
    told = guarded.guard.output().partition("coordkit: ")[2]
    assert told.startswith("the lease on 'x' is lost: no renewal succeeded in time; ")


def test_a_guard_killed_while_it_waits_leaves_nothing(
    coordkit: Program, session: Session
) -> None:
    with session.lock("x", ttl=30).acquire():
        with Guarded(coordkit, "x", FAMILY, *TTL) as guarded:
            until(lambda: getattr(lock_of(session), "waiters", 0) == 1)
            shim = guarded.shim
            guarded.guard.sigkill()
            until(lambda: not runs(shim))
            assert with_variable(MARK, guarded.mark) == set()
        until(lambda: getattr(lock_of(session), "waiters", 1) == 0)


def test_a_short_outage_is_ridden_out(guarded: Guarded, server: RedisServer) -> None:
    deadline = guarded.deadline()
    server.pause()
    try:
        until(lambda: guarded.state["event"] == "at-risk")
    finally:
        server.resume()
    until(lambda: guarded.deadline() > deadline)
    assert len(guarded.members) == 3
    assert guarded.state["expires_in"] < 0.6 * 2


def test_a_restart_with_its_data_is_ridden_out(program: Program) -> None:
    with RedisServer(persistence="always") as server:
        program.env["COORDKIT_URL"] = server.url
        with Guarded(program, "x", FAMILY, "--ttl", "5", "-k", "0.3") as guarded:
            deadline = guarded.ready().deadline()
            server.kill()
            server.restart()
            until(lambda: guarded.deadline() > deadline)
            assert len(guarded.members) == 3
            guarded.guard.sigterm()
            assert guarded.guard.wait() == 143


# -- what the command leaves behind -------------------------------------------------------


def test_its_background_ends_with_it(coordkit: Program) -> None:
    command = shell("sleep 600 & ready; exit 7")
    with Guarded(coordkit, "x", command, *TTL) as guarded:
        assert guarded.guard.wait() == 7
        assert with_variable(MARK, guarded.mark) == set()


def test_the_lock_is_free_only_when_nobody_of_the_group_runs(
    coordkit: Program, session: Session
) -> None:
    stubborn = shell("trap '' TERM; sleep 600 & ready; exit 7")
    with Guarded(coordkit, "x", stubborn, "--ttl", "4", "-k", "1") as guarded:
        until(lambda: guarded.state.get("code") == 7)
        assert guarded.members != set()
        group = guarded.group
        while groups().get(group):
            assert lock_of(session) is not None or not groups().get(group)
        assert guarded.guard.wait() == 7
        assert lock_of(session) is None


def test_its_background_may_be_left_alone(coordkit: Program, session: Session) -> None:
    command = shell("sleep 600 >/dev/null 2>&1 & ready; exit 7")
    with Guarded(coordkit, "x", command, *TTL, "--leave-group") as guarded:
        assert guarded.guard.wait() == 7
        assert len(with_variable(MARK, guarded.mark)) == 1
        assert lock_of(session) is None


def test_who_stops_the_command_stops_nothing_else(guarded: Guarded) -> None:
    """As a debugger does: the lease is renewed, and the group can still be ended."""
    os.killpg(guarded.group, signal.SIGSTOP)
    deadline = guarded.deadline()
    until(lambda: guarded.deadline() > deadline)
    guarded.guard.sigkill()
    assert guarded.gone_at() < guarded.last_deadline


# -- why it may be ended ------------------------------------------------------------------


def test_its_time_may_be_up(coordkit: Program, session: Session) -> None:
    for name, code in (("shell with a grandchild", 124), ("ignores TERM", 124)):
        options = (*TTL, "--max-runtime", "0.2")
        with Guarded(coordkit, "x", COMMANDS[name], *options) as guarded:
            assert guarded.guard.wait() == code
            assert with_variable(MARK, guarded.mark) == set()
            assert lock_of(session) is None
            assert "coordkit: its time is up; /usr/bin/env" in guarded.guard.output()


def test_it_is_asked_to_end_with_the_signal_of_choice(coordkit: Program) -> None:
    command = shell(
        "trap 'echo asked; exit 3' INT; ready; while :; do sleep 0.05; done"
    )
    options = (*TTL, "--stop-signal", "int", "--max-runtime", "0.2")
    with Guarded(coordkit, "x", command, *options) as guarded:
        assert guarded.guard.wait() == 124
        assert "asked" in guarded.guard.output()


@pytest.mark.parametrize("signum", ["USR1", "SIGUSR1", str(int(signal.SIGUSR1))])
def test_a_loss_may_be_a_signal_and_no_more(
    coordkit: Program, session: Session, signum: str
) -> None:
    script = "trap 'echo heard; exit 5' USR1; ready; while :; do sleep 0.05; done"
    options = (*TTL, "--on-lost", f"signal:{signum}")
    with Guarded(coordkit, "x", shell(script), *options) as guarded:
        guarded.ready()
        session.lock("x").break_()
        assert guarded.guard.wait() == 5
        assert "heard" in guarded.guard.output()
        assert "is lost: an operator broke it" in guarded.guard.output()


def test_a_loss_may_be_ignored(coordkit: Program, session: Session) -> None:
    command = shell("ready; while [ ! -e over ]; do sleep 0.05; done; exit 6")
    options = (*TTL, "--on-lost", "ignore")
    with Guarded(coordkit, "x", command, *options) as guarded:
        guarded.ready()
        session.lock("x").break_()
        with session.lock("x").acquire(10) as lease:
            until(lambda: now() > guarded.last_deadline)
            until(lambda: guarded.deadline() == 0)
            assert guarded.members != set()
            (coordkit.directory / "over").touch()
            assert guarded.guard.wait() == 6
            lease.renew()


def test_it_is_asked_to_let_go(coordkit: Program, session: Session) -> None:
    command = shell("trap 'exit 0' TERM; ready; while :; do sleep 0.05; done")
    with Guarded(coordkit, "x", command, *TTL) as guarded:
        guarded.ready()
        assert coordkit.run("lock", "revoke", "x").code == 0
        assert guarded.guard.wait() == 76
        assert "its holder was asked to let go" in guarded.guard.output()
        assert lock_of(session) is None  # released, long before its end


def test_a_lock_that_cannot_be_given_back_is_told(
    coordkit: Program, server: RedisServer
) -> None:
    command = shell("ready; while [ ! -e over ]; do sleep 0.05; done; exit 6")
    with Guarded(coordkit, "x", command, "--ttl", "5") as guarded:
        guarded.ready()
        server.pause()
        try:
            (coordkit.directory / "over").touch()
            assert guarded.guard.wait(30) == 6
        finally:
            server.resume()
        assert "'x' was not released, it ends by its ttl: " in guarded.guard.output()


@pytest.mark.skipif(
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode
    != 0,
    reason="may not make namespaces",
)
def test_the_first_process_of_a_container_buries_the_dead(coordkit: Program) -> None:
    # An orphan that has left the group ends; then the command looks whether it lies there.
    orphan = "(setsid sleep 0.2 &) ; sleep 1.5; ps -eo stat= | grep -c Z"
    words = ("lock", "run", "x", "--", "sh", "-c", f"{orphan}; sleep 600 & exit 4")
    with coordkit.start(*words, under=UNSHARE) as child:
        assert child.wait(30) == 4
        assert child.output() == "0\n"


def test_nothing_of_the_guard_is_left(guarded: Guarded) -> None:
    shim, group = guarded.shim, guarded.group
    guarded.guard.sigterm()
    assert guarded.guard.wait() == 143
    assert not runs(shim)
    assert groups().get(group) is None
    assert [p for p in processes() if p.session == guarded.guard.pid] == []
    assert not guarded.lease_file.exists()
