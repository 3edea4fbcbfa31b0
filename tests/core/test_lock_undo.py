"""Whatever interrupts `acquire`: what may have reached the server is ended there."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from coordkit._core.claim import Claim
from coordkit._core.lock import GIVEN_UP_MS, LockLease, acquire, release_call
from coordkit._core.ops import Defer, Listen, Op, Rest, Wait
from coordkit.errors import (
    CoordError,
    FenceRegression,
    KeyConflict,
    LeaseLost,
    NotPermitted,
    Refused,
    Unreachable,
    Unsupported,
)
from core.props import BUSY, ENDS, RID, TAKEN, TOKEN, a_claim, no_answer, not_sent
from core.script import Line, Stage, Took

LOST: list[Line] = [("lock_acquire", no_answer()), (Rest, None)]
QUEUED: list[Line] = [(Listen, None), ("lock_acquire", BUSY)]

each_interruption = pytest.mark.parametrize(
    "interruption",
    [KeyboardInterrupt, CancelledError, SystemExit, MemoryError, ZeroDivisionError],
)


def never(token: int, asked_at: float, lasts: float) -> LockLease:
    raise AssertionError("no lease was granted")


def wanting(
    stage: Stage,
    *,
    timeout: float | None = None,
    queue: bool = True,
    listening: bool = True,
    make: Callable[[int, float, float], LockLease] = never,
) -> Op[LockLease | None]:
    return acquire(
        a_claim(ttl=10),
        RID,
        make,
        now=stage.now,
        timeout=timeout,
        queue=queue,
        listening=listening,
    )


CLAIM = a_claim(ttl=10)
GIVE_UP = release_call(CLAIM, RID, GIVEN_UP_MS)


class Point(NamedTuple):
    """Where it can be interrupted: the lines before, what is asked then, what is undone."""

    lines: list[Line]
    at: str | type
    undone: bool
    listening: bool = True
    queue: bool = True


POINTS = {
    "listening first": Point([], Listen, undone=False),
    "the first question, queueing": Point(
        [(Listen, None)], "lock_acquire", undone=True
    ),
    "the first question": Point([], "lock_acquire", undone=True, listening=False),
    "trying": Point([], "lock_acquire", undone=True, queue=False),
    "the pause before asking again": Point(
        LOST[:1], Rest, undone=True, listening=False
    ),
    "asking again": Point(LOST, "lock_acquire", undone=True, listening=False),
    "pausing, nothing was sent": Point(
        [("lock_acquire", not_sent())],
        Rest,
        undone=False,
        listening=False,
    ),
    "listening, nothing is queued": Point(
        [("lock_acquire", BUSY)], Listen, undone=False, listening=False
    ),
    "listening, after a lost answer": Point(
        [*LOST, ("lock_acquire", BUSY)], Listen, undone=True, listening=False
    ),
    "queueing": Point(
        [("lock_acquire", BUSY), (Listen, None)], "lock_acquire", True, listening=False
    ),
    "waiting": Point(QUEUED, Wait, undone=True),
    "woken, asking": Point([*QUEUED, (Wait, "")], "lock_acquire", undone=True),
    "waiting for the second time": Point(
        [*QUEUED, (Wait, ""), ("lock_acquire", BUSY)], Wait, undone=True
    ),
    "waiting, an outage, nothing sent": Point(
        [*QUEUED, (Wait, ""), ("lock_acquire", not_sent())], Rest, True
    ),
}
each_point = pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)


@each_interruption
@each_point
def test_an_interruption_leaves_nothing_behind(
    interruption: type[BaseException], point: Point
) -> None:
    stage, cause = Stage(), interruption()
    lines = [*point.lines, (point.at, cause)]
    if point.undone:
        lines.append((GIVE_UP, [b"not ours"]))
    op = wanting(stage, queue=point.queue, listening=point.listening)
    with pytest.raises(interruption) as raised:
        stage.play(op, lines)
    assert raised.value is cause
    assert not hasattr(cause, "__notes__")


@each_point
def test_when_the_driver_is_gone_nobody_is_asked(point: Point) -> None:
    stage = Stage()
    op = wanting(stage, queue=point.queue, listening=point.listening)
    stage.leave(op, point.lines)


def test_the_tombstone_of_a_request_given_up_outlives_a_stalled_server() -> None:
    assert GIVE_UP.args[:2] == (RID, 60_000)
    assert GIVE_UP.keys[-1].endswith(f":tomb:{RID}")


# -- an undo that fails ------------------------------------------------------------


@each_interruption
def test_a_failing_undo_is_deferred_and_a_note_on_the_cause(
    interruption: type[BaseException],
) -> None:
    stage, cause = Stage(), interruption("why")
    lines: list[Line] = [
        (Listen, None),
        ("lock_acquire", Took(0.5, BUSY)),
        (Wait, cause),
        (GIVE_UP, Took(2.0, Unreachable("black hole"))),
        (Defer, None),
    ]
    with pytest.raises(interruption) as raised:
        stage.play(wanting(stage), lines)
    assert raised.value is cause
    assert cause.__notes__ == ["giving 'jobs' up was not confirmed: black hole"]
    # What could still be granted ends by its ttl, and then its tombstone is of no use.
    assert stage.asked[-1] == Defer(GIVE_UP, 100.5 + 10 + 60)


@pytest.mark.parametrize("error", [Refused("full"), KeyConflict("odd"), no_answer()])
def test_no_failure_of_the_undo_replaces_the_cause(error: CoordError) -> None:
    lines: list[Line] = [*QUEUED, (Wait, CancelledError()), (GIVE_UP, error)]
    with pytest.raises(CancelledError):
        Stage().play(wanting(Stage()), [*lines, (Defer, None)])


def test_try_whose_undo_fails_still_says_that_the_lock_is_taken() -> None:
    lines: list[Line] = [
        *LOST,
        ("lock_acquire", BUSY),
        (GIVE_UP, no_answer()),
        (Defer, None),
    ]
    assert Stage().play(wanting(Stage(), queue=False), lines) is None


@pytest.mark.parametrize("second", [KeyboardInterrupt, CancelledError, SystemExit])
def test_a_second_interruption_ends_the_undo_and_defers_it(
    second: type[BaseException],
) -> None:
    stage, again = Stage(), second()
    lines: list[Line] = [
        *QUEUED,
        (Wait, KeyboardInterrupt("first")),
        (GIVE_UP, again),
        (Defer, None),
    ]
    with pytest.raises(second) as raised:
        stage.play(wanting(stage), lines)
    assert raised.value is again
    assert stage.asked[-1] == Defer(GIVE_UP, 100 + 10 + 60)


def test_a_second_interruption_of_try_ends_the_undo_too() -> None:
    lines: list[Line] = [*LOST, ("lock_acquire", BUSY), (GIVE_UP, KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        Stage().play(wanting(Stage(), queue=False), [*lines, (Defer, None)])


@pytest.mark.parametrize("at", ["the undo", "its deferral"])
def test_the_driver_may_go_in_the_middle_of_the_undo(at: str) -> None:
    lines: list[Line] = [*QUEUED, (Wait, KeyboardInterrupt())]
    if at == "its deferral":
        lines.append((GIVE_UP, no_answer()))
    Stage().leave(wanting(Stage()), lines)


# -- what the server said no to -------------------------------------------------------


def test_a_refusal_undoes_what_an_earlier_question_may_have_done() -> None:
    refused = ("lock_acquire", Refused("full"))
    with pytest.raises(Refused):
        Stage().play(
            wanting(Stage(), listening=False),
            [*LOST, refused, (GIVE_UP, [b"released"])],
        )
    with pytest.raises(Refused):
        Stage().play(
            wanting(Stage()),
            [*QUEUED, (Wait, ""), refused, (GIVE_UP, [b"not ours"])],
        )


def test_a_line_that_may_not_be_listened_on_leaves_nothing() -> None:
    lines: list[Line] = [("lock_acquire", BUSY), (Listen, NotPermitted("channel"))]
    with pytest.raises(NotPermitted):
        Stage().play(wanting(Stage(), listening=False), lines)


@pytest.mark.parametrize("error", [KeyConflict("odd"), Unsupported("moved")])
def test_what_is_not_known_to_have_done_nothing_is_undone(error: CoordError) -> None:
    lines: list[Line] = [("lock_acquire", error), (GIVE_UP, [b"not ours"])]
    with pytest.raises(type(error)):
        Stage().play(wanting(Stage(), listening=False), lines)


def test_a_request_in_the_queue_that_was_ended_by_others_leaves_it() -> None:
    woken: list[Line] = [*QUEUED, (Wait, ""), ("lock_acquire", [b"gone"])]
    with pytest.raises(LeaseLost):
        Stage().play(wanting(Stage()), [*woken, (GIVE_UP, [b"broken"])])


# -- between the grant and the caller -------------------------------------------------


HANDED: list[Line] = [*QUEUED, (Wait, f"{TOKEN} {ENDS}")]


@pytest.mark.parametrize("lines", [[(Listen, None), ("lock_acquire", TAKEN)], HANDED])
@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), MemoryError(), FenceRegression("jobs", 1, 2)]
)
def test_a_lock_whose_lease_cannot_be_made_is_given_back(
    failure: Any, lines: list[Line]
) -> None:
    def make(token: int, asked_at: float, lasts: float) -> LockLease:
        raise failure

    stage = Stage()
    with pytest.raises(type(failure)) as raised:
        stage.play(wanting(stage, make=make), [*lines, (GIVE_UP, [b"released"])])
    assert raised.value is failure


def test_shared_locks_are_undone_by_their_own_script() -> None:
    claim: Claim = a_claim(shared=True)
    op = acquire(claim, RID, never, now=100.0, timeout=None, queue=True, listening=True)
    lines: list[Line] = [(Listen, None), ("share_acquire", KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        Stage().play(op, [*lines, ("share_release", [b"not ours"])])
