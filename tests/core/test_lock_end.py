"""`release` and `renew`: yes, no, and what stays open."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

import pytest

from coordkit._core.asking import FIRST_PAUSE
from coordkit._core.lease import State
from coordkit._core.lock import (
    RELEASED_MS,
    LockLease,
    release,
    release_call,
    renew,
)
from coordkit._core.ops import Call, Defer, Rest
from coordkit.errors import CoordError, LeaseLost, NotHeld, Reason, Refused, Unreachable
from core.props import RID, TOKEN, a_lease, no_answer, not_sent
from core.script import Line, Stage, Took, play

RELEASED = ("lock_release", [b"released"])
NOT_OURS = ("lock_release", [b"not ours"])


def give_back(lease: LockLease) -> Call:
    return release_call(lease._claim, RID, RELEASED_MS)


# -- release -----------------------------------------------------------------------


def test_release_is_one_question() -> None:
    stage = Stage()
    lease = a_lease(stage)
    stage.play(release(lease), [RELEASED])
    assert stage.asked == [give_back(lease)]
    assert lease.state is State.RELEASED
    assert lease.reason is None


def test_it_is_not_relied_on_while_the_question_is_on_its_way() -> None:
    stage = Stage()
    lease = a_lease(stage)
    stage.upto(release(lease), [])
    assert lease.state is State.RELEASED
    assert not lease.held


@pytest.mark.parametrize("lost", [no_answer, not_sent])
def test_a_lost_answer_is_asked_for_again(lost: Any) -> None:
    """Scripts answer a replay as they answered first: released, by us."""
    stage = Stage()
    lease = a_lease(stage)
    again: list[Line] = [("lock_release", lost()), (Rest, None)]
    stage.play(release(lease), [*again, *again, RELEASED])
    assert set(stage.calls()) == {give_back(lease)}
    rests = [r.until for r in stage.asked if isinstance(r, Rest) and r.until]
    assert rests == pytest.approx([100 + FIRST_PAUSE, 100 + 3 * FIRST_PAUSE])


@pytest.mark.parametrize("word", [b"released", b"not ours", b"broken"])
@pytest.mark.parametrize("reason", [Reason.STOLEN, Reason.REVOKED, Reason.UNKEPT])
def test_what_was_lost_before_is_lost_for_the_reason_told_then(
    word: bytes, reason: Reason
) -> None:
    stage = Stage()
    lease = a_lease(stage)
    lease._end(reason)
    with pytest.raises(LeaseLost) as lost:
        stage.play(release(lease), [("lock_release", [word])])
    assert lost.value.reason is reason


def test_after_the_deadline_it_is_expired_but_given_back_all_the_same() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    stage.now = lease.deadline
    with pytest.raises(LeaseLost) as lost:
        stage.play(release(lease), [RELEASED])
    assert lost.value.reason is Reason.EXPIRED


def test_what_an_operator_broke_is_broken() -> None:
    lease = a_lease(Stage())
    with pytest.raises(LeaseLost) as lost:
        play(release(lease), [("lock_release", [b"broken"])])
    assert lost.value.reason is Reason.BROKEN


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (b"stolen", Reason.STOLEN),
        (b"evicted", Reason.EVICTED),
        (b"data_lost", Reason.DATA_LOST),
        (b"broken", Reason.BROKEN),
        (b"expired", Reason.EXPIRED),
        (b"conflict", Reason.CONFLICT),
    ],
)
@pytest.mark.parametrize("kind", ["lock", "share"])
def test_what_is_not_ours_any_more_is_asked_the_reason(
    verdict: bytes, reason: Reason, kind: str
) -> None:
    lease = a_lease(Stage(), shared=kind == "share")
    lines: list[Line] = [
        (f"{kind}_release", [b"not ours"]),
        (f"{kind}_renew", [verdict]),
    ]
    with pytest.raises(LeaseLost) as lost:
        play(release(lease), lines)
    assert (lost.value.name, lost.value.token) == ("jobs", TOKEN)
    assert lost.value.reason is reason


def test_an_unknown_reason_does_not_make_a_loss_unknown() -> None:
    lease = a_lease(Stage())
    with pytest.raises(LeaseLost):
        play(release(lease), [NOT_OURS, ("lock_renew", Took(2.0, no_answer()))])


def test_what_stays_open_is_unknown_and_left_to_the_keeper() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    silent: Line = ("lock_release", Took(2.0, no_answer()))
    lines: list[Line] = [silent, (Rest, None), silent, (Defer, None)]
    with pytest.raises(Unreachable, match="no answer"):
        stage.play(release(lease), lines)
    # The lock is free by then: what arrives later has nothing to give back.
    assert stage.asked[-1] == Defer(give_back(lease), lease.deadline + 2.0)
    assert lease.state is State.RELEASED


def test_what_was_lost_before_is_deferred_for_one_call() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    stage.now = lease.deadline + 50
    lines: list[Line] = [("lock_release", Refused("full")), (Defer, None)]
    with pytest.raises(Refused):
        stage.play(release(lease), lines)
    assert stage.asked[-1] == Defer(give_back(lease), stage.now + 2.0)


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt(), CancelledError(), Refused("full")]
)
@pytest.mark.parametrize("again", [0, 1])
def test_an_interrupted_release_is_left_to_the_keeper(
    interruption: BaseException, again: int
) -> None:
    lease = a_lease(Stage())
    before: list[Line] = [("lock_release", no_answer()), (Rest, None)]
    at: str | type = Rest if again else "lock_release"
    lines: list[Line] = [*before[:again], (at, interruption), (Defer, None)]
    with pytest.raises(type(interruption)) as raised:
        play(release(lease), lines)
    assert raised.value is interruption


@pytest.mark.parametrize("lines", [[], [("lock_release", no_answer())], [NOT_OURS]])
def test_when_the_driver_is_gone_nobody_is_asked(lines: list[Line]) -> None:
    Stage().leave(release(a_lease(Stage())), lines)


# -- renew -------------------------------------------------------------------------


def test_a_renewal_counts_from_before_its_question() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    stage.now = 104.0
    stage.play(renew(lease), [("lock_renew", Took(0.7, [b"kept"]))])
    assert lease.deadline == pytest.approx(104 + 9.898)


def test_a_renewal_that_comes_too_late_prolongs_nothing() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    ends = lease.deadline
    stage.now = ends - 0.5
    with pytest.raises(LeaseLost) as lost:
        stage.play(renew(lease), [("lock_renew", Took(0.5, [b"kept"]))])
    assert lost.value.reason is Reason.EXPIRED
    assert lease.deadline == ends
    assert lease.state is State.LOST


@pytest.mark.parametrize(
    "reason",
    [
        Reason.REVOKED,
        Reason.EXPIRED,
        Reason.BROKEN,
        Reason.STOLEN,
        Reason.EVICTED,
        Reason.DATA_LOST,
        Reason.CONFLICT,
    ],
)
def test_a_renewal_that_is_denied_ends_the_lease(reason: Reason) -> None:
    lease = a_lease(Stage())
    told: list[str] = []
    lease._watch(lambda: told.append("ended"))
    with pytest.raises(LeaseLost) as lost:
        play(renew(lease), [("lock_renew", [reason.value.encode()])])
    assert lost.value.reason is lease.reason is reason
    assert lease.state is State.LOST
    assert told == ["ended"]


@pytest.mark.parametrize("error", [no_answer(), not_sent()])
def test_a_renewal_whose_answer_was_lost_is_asked_for_again(error: CoordError) -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    lines: list[Line] = [("lock_renew", error), (Rest, None), ("lock_renew", [b"kept"])]
    stage.play(renew(lease), lines)
    assert lease.deadline == pytest.approx(100 + FIRST_PAUSE + 9.898)


def test_a_renewal_without_an_answer_leaves_it_as_it_was() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10)
    before = lease.deadline
    silent: Line = ("lock_renew", Took(2.0, no_answer()))
    with pytest.raises(Unreachable):
        stage.play(renew(lease), [silent, (Rest, None), silent])
    assert lease.deadline == before
    assert lease.state is not State.LOST


def test_a_renewal_that_is_refused_leaves_it_as_it_was() -> None:
    stage = Stage()
    lease = a_lease(stage)
    before = lease.deadline
    with pytest.raises(Refused):
        stage.play(renew(lease), [("lock_renew", Refused("no"))])
    assert lease.deadline == before
    assert lease.state is State.HELD


@pytest.mark.parametrize(
    ("end", "error"), [(State.RELEASED, NotHeld), (Reason.STOLEN, LeaseLost)]
)
def test_what_has_ended_is_not_asked_about(
    end: State | Reason, error: type[CoordError]
) -> None:
    lease = a_lease(Stage())
    lease._end(end)
    with pytest.raises(error):
        play(renew(lease), [])


def test_what_has_expired_is_not_asked_about() -> None:
    stage = Stage()
    lease = a_lease(stage)
    stage.now = lease.deadline
    with pytest.raises(LeaseLost):
        stage.play(renew(lease), [])
