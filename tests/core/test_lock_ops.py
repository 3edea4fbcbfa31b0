"""`acquire`: what it asks, how long it insists, and what it is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from coordkit._core.asking import FIRST_PAUSE, LONGEST_PAUSE
from coordkit._core.lease import believed_until
from coordkit._core.lock import (
    acquire_call,
    release_call,
)
from coordkit._core.ops import Call, Listen, Rest, Wait
from coordkit.errors import (
    KeyConflict,
    LeaseLost,
    Reason,
    Refused,
    Unreachable,
)
from core.props import (
    BUSY,
    RID,
    TAKEN,
    TOKEN,
    a_claim,
    held,
    no_answer,
    not_sent,
    rests,
    wanting,
)
from core.script import Line, Stage, Took

# -- taken -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "listening"), [(False, False), (False, True), (True, False)]
)
def test_a_free_lock_costs_one_question(queue: bool, listening: bool) -> None:
    stage, claim = Stage(), a_claim()
    op = wanting(stage, claim, queue=queue, listening=listening)
    lease = held(stage.play(op, [("lock_acquire", TAKEN)]))
    assert stage.asked == [acquire_call(claim, RID, queue=False)]
    assert (lease.name, lease.holder, lease.token) == ("jobs", RID, TOKEN)
    assert lease.held


def test_who_hears_wakes_already_enters_the_queue_with_the_first_question() -> None:
    stage, claim = Stage(), a_claim()
    op = wanting(stage, claim, listening=True)
    stage.play(op, [(Listen, None), ("lock_acquire", TAKEN)])
    assert stage.asked == [
        Listen(RID, claim.call_timeout),
        acquire_call(claim, RID, queue=True),
    ]


def test_the_deadline_counts_from_before_the_question() -> None:
    stage, claim = Stage(), a_claim(ttl=10)
    op = wanting(stage, claim)
    lease = held(stage.play(op, [("lock_acquire", Took(1.5, TAKEN))]))
    assert lease.deadline == believed_until(100.0, 10.0) == pytest.approx(109.898)


def test_of_several_questions_the_one_that_was_answered_counts() -> None:
    stage, claim = Stage(), a_claim(ttl=10)
    lines: list[Line] = [
        ("lock_acquire", Took(2.0, no_answer())),
        (Rest, None),
        ("lock_acquire", Took(0.5, TAKEN)),
    ]
    lease = held(stage.play(wanting(stage, claim), lines))
    asked_at = 100 + 2.0 + FIRST_PAUSE
    assert lease.deadline == pytest.approx(asked_at + 10 - 0.102)


@pytest.mark.parametrize(
    ("given", "just_in_time"),
    [
        ({"ttl": 10}, 9.898),
        ({"ttl": 0.05}, 0.0475),
        ({"ttl": 10, "max_hold": 1}, 0.988),
    ],
)
def test_an_answer_that_took_as_long_as_the_lease_is_given_back(
    given: dict[str, Any], just_in_time: float
) -> None:
    claim = a_claim(**given)
    stage = Stage()
    in_time = ("lock_acquire", Took(just_in_time - 0.0001, TAKEN))
    assert held(stage.play(wanting(stage, claim), [in_time])).held

    stage = Stage()
    lines: list[Line] = [
        ("lock_acquire", Took(just_in_time, TAKEN)),
        ("lock_release", [b"released"]),
    ]
    with pytest.raises(Unreachable, match="'jobs' may be relied on; it was given back"):
        stage.play(wanting(stage, claim), lines)
    given_back = release_call(claim, RID, 60_000)
    assert isinstance(stage.asked[-1], Call)
    assert stage.asked[-1]._replace(timeout=given_back.timeout) == given_back


# -- try ---------------------------------------------------------------------------


@pytest.mark.parametrize("listening", [True, False])
def test_try_never_queues(listening: bool) -> None:
    stage, claim = Stage(), a_claim()
    op = wanting(stage, claim, queue=False, listening=listening)
    assert stage.play(op, [("lock_acquire", BUSY)]) is None
    (call,) = stage.calls()
    assert call.args[1] == 0
    assert stage.asked == [call], "it left nothing, so there is nothing to undo"


def test_try_asks_again_for_a_lost_answer_with_the_same_rid() -> None:
    stage, claim = Stage(), a_claim()
    lines: list[Line] = [
        ("lock_acquire", Took(2.0, no_answer())),
        (Rest, None),
        ("lock_acquire", TAKEN),
    ]
    assert stage.play(wanting(stage, claim, queue=False), lines)
    first, again = stage.calls()
    assert first == again


def test_try_that_is_refused_after_a_lost_answer_leaves_nothing() -> None:
    """The lost question may still come through, when the lock is free again."""
    stage, claim = Stage(), a_claim()
    lines: list[Line] = [
        ("lock_acquire", Took(2.0, no_answer())),
        (Rest, None),
        ("lock_acquire", BUSY),
        ("lock_release", [b"not ours"]),
    ]
    assert stage.play(wanting(stage, claim, queue=False), lines) is None
    given_back = release_call(claim, RID, 60_000)
    assert isinstance(stage.asked[-1], Call)
    assert stage.asked[-1]._replace(timeout=given_back.timeout) == given_back


def test_try_does_not_ride_out_an_outage() -> None:
    with pytest.raises(Unreachable, match="nobody listens"):
        Stage().play(
            wanting(Stage(), a_claim(), queue=False),
            [("lock_acquire", not_sent())],
        )


def test_try_insists_on_a_lost_answer_for_two_calls_at_most() -> None:
    stage, claim = Stage(), a_claim()
    assert claim.call_timeout == 2.0
    lines: list[Line] = [
        ("lock_acquire", Took(2.0, no_answer())),
        (Rest, None),
        ("lock_acquire", Took(2.0, no_answer())),
        ("lock_release", [b"not ours"]),
    ]
    with pytest.raises(Unreachable):
        stage.play(wanting(stage, claim, queue=False), lines)


# -- asking again --------------------------------------------------------------------


def silence(tries: int, *, error: Any = no_answer) -> list[Line]:
    """So many questions without an answer, each with its pause."""
    once: list[Line] = [("lock_acquire", error()), (Rest, None)]
    return once * tries


def pauses(stage: Stage) -> list[float]:
    """How long the rests of a silent stage were, those of no length left out."""
    instants = [100.0, *rests(stage)]
    return [b - a for a, b in pairwise(instants)]


def test_each_pause_is_twice_the_one_before_up_to_a_limit() -> None:
    stage, claim = Stage(), a_claim()
    lines = [*silence(9), ("lock_acquire", TAKEN)]
    assert stage.play(wanting(stage, claim), lines)
    assert set(stage.calls()) == {acquire_call(claim, RID, queue=False)}
    doubled = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(9)]
    assert pauses(stage) == pytest.approx(doubled)
    assert doubled[0] < doubled[-1] == doubled[-2] == 0.5


@pytest.mark.parametrize(
    ("timeout", "gives_up_after"), [(None, 10.0), (60.0, 10.0), (3.0, 3.0)]
)
def test_an_outage_is_ridden_out_for_one_ttl_or_to_the_callers_limit(
    timeout: float | None, gives_up_after: float
) -> None:
    stage = Stage()
    op = wanting(stage, a_claim(ttl=10), timeout=timeout)
    with pytest.raises(Unreachable, match="nobody listens"):
        stage.improvise(op, lambda r: not_sent() if isinstance(r, Call) else None)
    assert stage.now == pytest.approx(100 + gives_up_after)
    assert max(pauses(stage)) <= LONGEST_PAUSE
    assert isinstance(stage.asked[-1], Call), "it asks once more at the very end"


def test_no_question_waits_beyond_the_callers_limit() -> None:
    """An unreachable server is one clear error within the caller's time-out."""
    stage = Stage()
    op = wanting(stage, a_claim(ttl=30), timeout=0.5)
    call = stage.upto(op, [])
    assert isinstance(call, Call)
    assert call.timeout <= 0.5


def test_an_answer_renews_the_patience() -> None:
    stage, claim = Stage(), a_claim(ttl=5, waiter_ttl=60)
    lines: list[Line] = [
        (Listen, None),
        ("lock_acquire", BUSY),
        (Wait, Took(20.0, "")),
        ("lock_acquire", BUSY),
        (Wait, Took(1.0, "")),
        ("lock_acquire", Took(1.0, no_answer())),  # an outage since 120 s, not 100 s
        (Rest, None),
        ("lock_acquire", TAKEN),
    ]
    assert stage.play(wanting(stage, claim, listening=True), lines)


# -- refused -----------------------------------------------------------------------


def test_a_refusal_is_told_at_once_and_leaves_nothing() -> None:
    with pytest.raises(Refused, match="out of memory"):
        Stage().play(
            wanting(Stage(), a_claim()), [("lock_acquire", Refused("out of memory"))]
        )


def test_a_request_that_was_ended_by_others_is_a_lost_lease() -> None:
    with pytest.raises(LeaseLost) as lost:
        Stage().play(wanting(Stage(), a_claim()), [("lock_acquire", [b"gone"])])
    assert (lost.value.name, lost.value.reason) == ("jobs", Reason.BROKEN)


@pytest.mark.parametrize(
    ("given", "agreed", "text"),
    [
        ({"slots": 3}, b"0", r"'jobs' is shared with shared=True .* not with slots=3"),
        ({"shared": True}, b"5", r"with slots=5 at present, not with shared=True"),
        ({"slots": 2}, b"5", r"with slots=5 at present, not with slots=2"),
    ],
)
def test_another_limit_is_a_conflict(
    given: dict[str, Any], agreed: bytes, text: str
) -> None:
    with pytest.raises(KeyConflict, match=text):
        Stage().play(
            wanting(Stage(), a_claim(**given)), [("share_acquire", [b"limit", agreed])]
        )
