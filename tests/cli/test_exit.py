"""The exit codes: one table, told by `--help`, and each of them seen."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from cli.program import Program
from coordkit import Session
from coordkit_cli._exit import CODES, MEANINGS, Exit
from support.guards import Guarded, shell
from support.polling import until
from support.servers import RedisServer, free_port

RUN = ("lock", "run", "x")
READY = shell("ready; exec sleep 600")


def test_every_code_is_told(program: Program) -> None:
    assert set(MEANINGS) == set(Exit)
    assert set(CODES.values()) <= set(Exit)
    shown = " ".join(program.run("--help").out.split())
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in shown
    assert "128 + N when signal N ended it" in shown


def test_the_codes_are_those_of_others() -> None:
    assert (Exit.USAGE, Exit.UNREACHABLE) == (os.EX_USAGE, os.EX_UNAVAILABLE)
    assert (Exit.BUG, Exit.NOT_ACQUIRED) == (os.EX_SOFTWARE, os.EX_TEMPFAIL)
    assert (Exit.NOT_PERMITTED, Exit.CONFIG) == (os.EX_NOPERM, os.EX_CONFIG)
    assert Exit.INTERRUPTED == 128 + signal.SIGINT
    assert Exit.HUNG_UP == 128 + signal.SIGPIPE


def nowhere() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


#: What `lock run` is given for each of them.
OF_RUN: dict[int, Callable[[], tuple[str, ...]]] = {
    0: lambda: (*RUN, "true"),
    1: lambda: (*RUN, "false"),
    42: lambda: (*RUN, "sh", "-c", "exit 42"),
    64: lambda: (*RUN, "--ttl", "5", "true"),
    69: lambda: ("--url", nowhere(), *RUN, "true"),
    75: lambda: ("lock", "run", "-n", "taken", "true"),
    78: lambda: ("lock", "run", "-k", "1h", "x", "true"),
    99: lambda: ("lock", "run", "-n", "-E", "99", "taken", "true"),
    124: lambda: ("lock", "run", "--max-runtime", "0.1", "x", "sleep", "60"),
    126: lambda: (*RUN, "/"),
    127: lambda: (*RUN, "no-such-program"),
    137: lambda: (*RUN, "sh", "-c", "kill -KILL $$"),
    143: lambda: (*RUN, "sh", "-c", "kill -TERM $$"),
}


@pytest.mark.parametrize("code", OF_RUN)
def test_codes_of_a_run(coordkit: Program, session: Session, code: int) -> None:
    with session.lock("taken").acquire():
        ran = coordkit.run(*OF_RUN[code]())
    assert ran.code == code
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.count("\n") == (code in {64, 69, 75, 78, 99, 124, 126, 127})


def test_codes_of_a_run_that_is_ended(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    at = server.url.partition("//")[2]
    assert coordkit.run("--url", f"redis://shop:pw@{at}", *RUN, "true").code == 77
    with Guarded(coordkit, "x", READY, "--ttl", "1") as guarded:
        guarded.ready()
        session.lock("x").break_()
        assert guarded.guard.wait() == 76
    with Guarded(coordkit, "x", READY) as guarded:
        os.kill(guarded.ready().shim, signal.SIGKILL)
        assert guarded.guard.wait() == 125
    with session.lock("x").acquire():
        for signum in (signal.SIGINT, signal.SIGTERM):
            with coordkit.start(*RUN, "true") as child:
                until(lambda: getattr(session.lock("x").info(), "waiters", 0) == 1)
                os.kill(child.pid, signum)
                assert child.wait() == 128 + signum


def test_codes_of_questions(coordkit: Program, session: Session) -> None:
    for verb in ("show", "check", "revoke"):
        assert coordkit.run("lock", verb, "x").code == 1
    with session.lock("x").acquire():
        for verb in ("show", "check", "revoke"):
            assert coordkit.run("lock", verb, "x").code == 0
