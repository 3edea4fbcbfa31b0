"""The shim by itself, in a process that does nothing but ask it."""

from __future__ import annotations

import json
import os
import select
import signal
from typing import Any

import pytest

from coordkit_cli._post import Post
from coordkit_cli._shim import Command, Rules, fork
from support.groups import PROC
from support.history import now
from support.processes import worker

pytestmark = pytest.mark.skipif(
    not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
)

RULES = Rules(
    lost_signal=signal.SIGTERM,
    lost_kills=True,
    stop_signal=signal.SIGTERM,
    grace=0.2,
    margin=0.5,
    leave_group=False,
)


def sh(script: str) -> Command:
    return Command("/bin/sh", ["sh", "-c", script], {"PATH": os.environ["PATH"]})


def until_gone(post: Post) -> list[Any]:
    """Return what the shim tells up to the end of a run."""
    told: list[Any] = []
    while ["gone"] not in told:
        select.select([post.reading], [], [], 10)
        told += post.received()
        assert not post.ended
    return told


def tell(told: list[Any]) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - to the test


def verbs(told: list[Any]) -> list[str]:
    return [message[0] for message in told]


# -- run by `worker`, in processes of their own -----------------------------------------------


def too_late() -> None:
    _, post = fork(sh("echo ran"), RULES)
    post.send("run", now() + 0.6, {})
    tell(until_gone(post))


def again_and_again() -> None:
    _, post = fork(sh("exit $CODE"), RULES)
    for number in range(3):
        post.send("run", now() + 10, {"CODE": str(number)})
        tell(until_gone(post)[1:])


def no_such_file() -> None:
    _, post = fork(Command("/no/such", ["such"], {}), RULES)
    post.send("run", now() + 10, {})
    tell(until_gone(post)[1:])


def too_many_processes() -> None:
    import resource

    if os.getuid() == 0:
        os.setuid(65534)  # limits are not for root
    _, post = fork(sh("true"), RULES)
    resource.prlimit(_shim_of(os.getpid()), resource.RLIMIT_NPROC, (0, 0))
    post.send("run", now() + 10, {})
    tell(until_gone(post))


def _shim_of(pid: int) -> int:
    from support.groups import children

    (shim,) = children(pid)
    return shim


def by_deadline() -> None:
    _, post = fork(sh("trap '' TERM; sleep 600 & sleep 600"), RULES)
    begun = now()
    post.send("run", begun + 1.5, {})
    post.send("deadline", begun + 2.0)
    post.send("deadline", begun + 1.7)  # late on its way: it takes nothing back
    told = until_gone(post)
    tell([*told, round(now() - begun, 3)])


def ended_once() -> None:
    """What comes after the end has begun does not prolong it."""
    _, post = fork(sh("sleep 600"), RULES)
    begun = now()
    post.send("run", begun + 30, {})
    post.send("end", 0, begun + 0.5)
    post.send("end", 0, begun + 20)
    post.send("deadline", begun + 60)
    told = until_gone(post)
    tell([*told, round(now() - begun, 3)])


# -- what they tell ----------------------------------------------------------------------------


def told_by(function: Any) -> list[Any]:
    with worker(function) as child:
        assert child.wait(30) == 0, child.output()
        return [json.loads(line) for line in child.output().splitlines()]


def test_a_run_that_is_asked_for_too_late_is_none() -> None:
    (told,) = told_by(too_late)  # and nothing else is in the output
    assert verbs(told) == ["ending", "gone"]


def test_one_shim_serves_run_after_run() -> None:
    assert told_by(again_and_again) == [[["exited", n], ["gone"]] for n in range(3)]


def test_what_cannot_be_run_is_told() -> None:
    ((failed, exited, gone),) = told_by(no_such_file)
    assert failed == ["failed", 2]
    assert (exited[0], gone) == ("exited", ["gone"])


def test_it_keeps_to_the_last_deadline_whatever_order_they_come_in() -> None:
    ((*told, took),) = told_by(by_deadline)
    assert verbs(told) == ["started", "ending", "exited", "gone"]
    assert told[2] == ["exited", -signal.SIGKILL]
    assert 2.0 - RULES.margin <= took < 2.0


def test_an_end_is_not_put_off() -> None:
    ((*told, took),) = told_by(ended_once)
    assert verbs(told) == ["started", "exited", "gone"]
    assert told[1] == ["exited", -signal.SIGKILL]
    assert 0.5 <= took < 10


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_what_cannot_be_forked_is_told() -> None:
    (told,) = told_by(too_many_processes)
    assert [verbs(told), told[0][1]] == [["failed", "gone"], 11]
