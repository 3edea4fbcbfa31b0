"""`coordkit lock acquire`, `renew`, `release`, `check`, `wait` and `revoke`: for scripts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest

from cli.program import Program
from coordkit import LeaseLost, LockInfo, Reason, Session
from coordkit._core import lock as protocol
from support.guards import Guarded, shell
from support.polling import until
from support.servers import RedisServer, free_port

NOBODY = "0" * 32 + "x"


def held(session: Session, name: str = "x") -> LockInfo | None:
    return session.lock(name).info()


def acquire(program: Program, *words: str) -> str:
    """Return the handle."""
    ran = program.run("lock", "acquire", *words)
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{32}[xs]:[0-9]{16}\n", ran.out)
    return ran.out.strip()


# -- acquire ------------------------------------------------------------------------------


def test_a_lock_outlives_who_acquired_it(coordkit: Program, session: Session) -> None:
    handle = acquire(coordkit, "x", "--ttl", "1m", "--reason", "migration")
    info = held(session)
    assert info is not None
    assert handle == f"{info.holder}:{info.token}"
    assert 50 < info.expires_in <= 60
    assert info.meta == {"reason": "migration"}
    assert session.lock("x").try_acquire() is None


def test_a_handle_in_json(coordkit: Program, session: Session) -> None:
    (told,) = coordkit.run("lock", "acquire", "x", "--ttl", "1m", "--json").objects
    info = held(session)
    assert info is not None
    assert 50 < told.pop("expires_in") <= 60
    assert told == {
        "v": 1,
        "name": "x",
        "held": True,
        "holder": info.holder,
        "token": info.token,
        "identity": info.identity,
    }


def test_it_ends_by_itself(coordkit: Program, session: Session) -> None:
    acquire(coordkit, "x", "--ttl", "300ms")
    session.lock("x").acquire(10).release()


def test_what_is_taken_is_75(coordkit: Program, session: Session) -> None:
    with session.lock("x").acquire():
        for more in (["-n"], ["-w", "50ms"]):
            ran = coordkit.run("lock", "acquire", "x", "--ttl", "1m", *more)
            assert f"x is held by {session.identity}" in ran.refused(75)
        ran = coordkit.run("lock", "acquire", "x", "--ttl", "1", "-n", "-E", "9")
        assert ran.code == 9


def test_one_that_was_handed_over_lasts_for_its_ttl(
    coordkit: Program, session: Session
) -> None:
    lease = session.lock("x").acquire()
    with coordkit.start("lock", "acquire", "x", "--ttl", "1m") as child:
        until(lambda: getattr(held(session), "waiters", 0) == 1)
        lease.release()
        assert child.wait() == 0
    info = held(session)
    assert info is not None
    assert 50 < info.expires_in <= 60


def test_a_handle_that_nobody_reads_leaves_no_lock(
    coordkit: Program, session: Session
) -> None:
    argv = [*coordkit.argv, "lock", "acquire", "x", "--ttl", "1m"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        argv, stdout=writing, stderr=subprocess.PIPE, env=coordkit.env, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
    assert held(session) is None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_that_is_interrupted_leaves_nothing(
    coordkit: Program, session: Session, signum: signal.Signals
) -> None:
    with session.lock("x").acquire():
        with coordkit.start("lock", "acquire", "x", "--ttl", "1m") as child:
            until(lambda: getattr(held(session), "waiters", 0) == 1)
            os.kill(child.pid, signum)
            assert child.wait() == 128 + signum
            assert child.output() == ""
        assert getattr(held(session), "waiters", 1) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["acquire", "x"], "Missing option '--ttl'"),
        (["acquire", "x", "--ttl", "0"], "ttl=0.0 is not between 0.05"),
        (
            ["acquire", "x", "--ttl", "1", "--shared", "--slots", "2"],
            "exclude each other",
        ),
        (["renew", "x", "--ttl", "1"], "Missing option '--holder'"),
        (["renew", "x", "--holder", NOBODY], "Missing option '--ttl'"),
        (["renew", "x", "--holder", NOBODY, "--ttl", "9d"], "is not between"),
        (["release", "x"], "Missing option '--holder'"),
        (["release", "x", "--holder", "me"], "'me' is not what `lock acquire` prints"),
        (["check", "x", "--holder", ""], "is not what `lock acquire` prints"),
        (["wait", "x", "-w", "soon"], "'soon' is no duration"),
        (["revoke"], "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_is_64(coordkit: Program, words: list[str], says: str) -> None:
    assert says in coordkit.run("lock", *words).refused(64)


# -- renew and release --------------------------------------------------------------------


def test_it_is_renewed_and_released_by_its_handle(
    coordkit: Program, session: Session
) -> None:
    handle = acquire(coordkit, "x", "--ttl", "10s")
    before = held(session)
    assert (
        coordkit.run("lock", "renew", "x", "--ttl", "2m", "--holder", handle).out == ""
    )
    after = held(session)
    assert before is not None
    assert after is not None
    assert (after.holder, after.token) == (before.holder, before.token)
    assert 110 < after.expires_in <= 120
    assert coordkit.run("lock", "release", "x", "--holder", handle) == (0, "", "")
    assert held(session) is None


def test_the_handle_may_stand_in_the_environment(
    coordkit: Program, session: Session
) -> None:
    coordkit.env["COORDKIT_HOLDER"] = acquire(coordkit, "x", "--ttl", "10s")
    (told,) = coordkit.run("lock", "renew", "x", "--ttl", "2m", "--json").objects
    assert 110 < told.pop("expires_in") <= 120
    assert told == {"v": 1, "name": "x", "held": True}
    assert coordkit.run("lock", "check", "x").code == 0
    (told,) = coordkit.run("lock", "release", "x", "--json").objects
    assert told == {"v": 1, "name": "x", "held": False}


def test_the_next_has_it_at_once(coordkit: Program, session: Session) -> None:
    handle = acquire(coordkit, "x", "--ttl", "1m")
    with coordkit.start("lock", "run", "x", "true") as child:
        until(lambda: getattr(held(session), "waiters", 0) == 1)
        assert coordkit.run("lock", "release", "x", "--holder", handle).code == 0
        assert child.wait() == 0


def test_shared_ones_too(coordkit: Program, session: Session) -> None:
    options = ("--slots", "2", "--ttl", "10s")
    first, second = (acquire(coordkit, "x", *options) for _ in range(2))
    assert coordkit.run("lock", "acquire", "x", "-n", *options).code == 75
    assert (
        coordkit.run("lock", "renew", "x", "--ttl", "2m", "--holder", first).code == 0
    )
    info = held(session)
    assert info is not None
    expires = {f"{each.holder}:{each.token}": each.expires_in for each in info.holders}
    assert expires[first] > 100 > expires[second]
    for handle in (first, second):
        assert coordkit.run("lock", "check", "x", "--holder", handle).code == 0
        assert coordkit.run("lock", "release", "x", "--holder", handle).code == 0
        assert coordkit.run("lock", "check", "x", "--holder", handle).code == 1
    assert held(session) is None


@pytest.mark.parametrize("verb", ["renew", "release"])
def test_a_holder_that_is_no_longer_is_76(
    coordkit: Program, session: Session, verb: str
) -> None:
    more = ["--ttl", "1m"] if verb == "renew" else []
    words = ("lock", verb, "x", *more, "--holder")
    with session.lock("x").acquire() as lease:
        said = coordkit.run(*words, NOBODY).refused(76)
        assert "the lease on 'x' (token 0) is lost: another holder has it" in said
        said = coordkit.run(*words, f"{NOBODY}:{lease.token}").refused(76)
        assert "another holder has it" in said
        lease.renew()
    said = coordkit.run(*words, f"{NOBODY}:1").refused(76)
    assert "its key is gone from the server" in said
    handle = acquire(coordkit, "x", "--ttl", "1m")
    session.lock("x").break_()
    assert "an operator broke it" in coordkit.run(*words, handle).refused(76)


def test_a_release_may_be_repeated(coordkit: Program, session: Session) -> None:
    """A script does not know whether its first one came through."""
    handle = acquire(coordkit, "x", "--ttl", "1m")
    words = ("lock", "release", "x", "--holder", handle)
    assert [coordkit.run(*words).code for _ in range(2)] == [0, 0]


def test_release_after_all_that_is_remembered_is_76(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    handle = acquire(coordkit, "x", "--ttl", "1m")
    words = ("lock", "release", "x", "--holder", handle)
    assert coordkit.run(*words).code == 0
    with server.client() as client:  # so that nobody has to wait for it
        (tomb,) = client.keys("*:tomb:*")
        assert 0 < client.pttl(tomb) <= protocol.RELEASED_MS
        client.delete(tomb)
    coordkit.run(*words).refused(76)


# -- check --------------------------------------------------------------------------------


def test_check_answers_by_its_code(coordkit: Program, session: Session) -> None:
    assert coordkit.run("lock", "check", "x") == (1, "", "")
    handle = acquire(coordkit, "x", "--ttl", "1m")
    holder, _, token = handle.partition(":")
    for mine in ([], ["--holder", handle], ["--holder", holder]):
        assert coordkit.run("lock", "check", "x", *mine) == (0, "", "")
    for other in (NOBODY, f"{NOBODY}:{token}", f"{holder}:{int(token) + 1}"):
        assert coordkit.run("lock", "check", "x", "--holder", other) == (1, "", "")


def test_check_in_json(coordkit: Program, session: Session) -> None:
    ran = coordkit.run("lock", "check", "x", "--json")
    assert (ran.code, ran.objects) == (1, [{"v": 1, "name": "x", "held": False}])
    with session.lock("x").acquire() as lease:
        (told,) = coordkit.run("lock", "check", "x", "--json").objects
        assert (told["held"], told["token"]) == (True, lease.token)


def test_a_command_can_check_the_lock_it_runs_under(
    coordkit: Program, session: Session
) -> None:
    words = [*coordkit.argv, "lock", "check"]
    script = f"{' '.join(words)} x; echo $?; {' '.join(words)} y; echo $?"
    ran = coordkit.run("lock", "run", "--pass-url", "-c", script, "x")
    assert (ran.code, ran.out) == (0, "0\n1\n")
    late = (
        f"ready; while [ ! -e go ]; do sleep 0.02; done; {' '.join(words)} x; echo $?"
    )
    options = ("--pass-url", "--on-lost", "ignore", "--ttl", "2")
    with Guarded(coordkit, "x", shell(late), *options) as guarded:
        guarded.ready()
        session.lock("x").break_()
        with session.lock("x").acquire(10):
            (coordkit.directory / "go").touch()
            guarded.guard.wait()
        assert "\n1\n" in guarded.guard.output()


# -- wait ---------------------------------------------------------------------------------


def test_wait_ends_when_nobody_holds_it(coordkit: Program, session: Session) -> None:
    assert coordkit.run("lock", "wait", "x") == (0, "", "")
    (told,) = coordkit.run("lock", "wait", "x", "--json").objects
    assert told == {"v": 1, "name": "x", "held": False}
    lease = session.lock("x").acquire()
    with coordkit.start("-v", "lock", "wait", "x") as child:
        child.wait_for_output("\n")
        assert child.alive
        lease.release()
        assert child.wait() == 0


def test_wait_gives_up_with_75(coordkit: Program, session: Session) -> None:
    with session.lock("x").acquire():
        for limit in ("0", "300ms"):
            began = time.monotonic()
            said = coordkit.run("lock", "wait", "x", "-w", limit).refused(75)
            assert time.monotonic() - began > float(limit.removesuffix("ms")) / 1000
            assert f"x is held by {session.identity}" in said


def test_wait_is_69_where_nobody_answers(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    words = ("lock", "wait", "x", "-w", "0.2", "--url", url)
    assert "is it running?" in program.run(*words).refused(69)


def test_wait_rides_out_a_restart(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    acquire(coordkit, "x", "--ttl", "1m")
    with coordkit.start("lock", "wait", "x", "-v") as child:
        child.wait_for_output("\n")
        server.restart(empty=True)
        assert child.wait() == 0


# -- revoke -------------------------------------------------------------------------------


def test_revoke_asks_the_holder(coordkit: Program, session: Session) -> None:
    lease = session.lock("x", ttl=60).acquire()
    ran = coordkit.run("lock", "revoke", "x")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"x is held by {session.identity} (token {lease.token})")
    assert ran.out.endswith("; asked to let go\n")
    (told,) = coordkit.run("lock", "revoke", "x", "--json").objects
    assert (told["asked"], told["token"]) == (True, lease.token)
    with pytest.raises(LeaseLost) as lost:
        lease.renew()
    assert lost.value.reason is Reason.REVOKED


def test_revoking_a_free_lock_is_a_no(coordkit: Program) -> None:
    assert coordkit.run("lock", "revoke", "x") == (1, "x is free\n", "")
