"""A lease: its states, its end, and what its holder may rely on."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordkit._core.lease import Lease, State, believed_until
from coordkit.errors import CoordError, LeaseLost, NotHeld, Reason
from core.props import RID, TOKEN, a_claim, a_lease, the_lease
from core.script import Stage

TTL = 30.0
DEADLINE = 100 + 29.698


def state_at(stage: Stage, lease: Lease, now: float) -> State:
    stage.now = now
    return lease.state


# -- how long ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "drift"),
    [
        (0.05, 0.0025),
        (1.0, 0.012),
        (10.0, 0.102),
        (30.0, 0.302),
        (604_800.0, 6048.002),
    ],
)
def test_belief_ends_one_percent_and_two_milliseconds_early(
    ttl: float, drift: float
) -> None:
    assert believed_until(100.0, ttl) == pytest.approx(100 + ttl - drift, abs=1e-9)


@given(st.floats(0, 1e9), st.floats(0.05, 604_800), st.floats(0.99, 1.01))
def test_no_clock_that_drifts_by_one_percent_outlasts_the_server(
    asked_at: float, ttl: float, rate: float
) -> None:
    """A second of ours is *rate* of the server's, which began at *asked_at* or later."""
    believed = Fraction(believed_until(asked_at, ttl)) - Fraction(asked_at)
    assert believed > 0
    # Floats so far from zero have a grain of their own: far below the 2 ms.
    assert believed * Fraction(rate) <= Fraction(ttl) + Fraction(1, 10_000_000)


@given(st.floats(0.05, 604_800), st.floats(0.05, 604_800))
def test_max_hold_leaves_room_for_drift_too(ttl: float, most: float) -> None:
    lease = a_lease(Stage(), ttl=ttl, max_hold=most)
    assert lease.deadline <= believed_until(100, min(ttl, most)) + 1e-6


@given(st.floats(0.05, 604_800), st.floats(0.05, 604_800), st.floats(0, 1))
@example(3.0, 4.0, 0.5)
def test_so_does_a_renewal_that_max_hold_shortens(
    ttl: float, most: float, part: float
) -> None:
    """The server gives less than a ttl: a clock that is slow must see an end before that."""
    stage = Stage()
    lease = a_lease(stage, ttl=ttl, max_hold=most)
    before = lease.deadline
    stage.now += part * (before - stage.now)
    granted_ms = lease._renewal().args[2]
    assert isinstance(granted_ms, int)
    lease._renewed(stage.now)
    most_believed = believed_until(stage.now, granted_ms / 1000)
    assert lease.deadline <= max(before, most_believed) + 1e-6


def test_it_counts_from_before_the_question() -> None:
    stage, claim = Stage(), a_claim()
    stage.now = 101.5  # when the answer came
    lease = the_lease(stage, claim, RID, TOKEN, 100.0)
    assert lease.deadline == pytest.approx(DEADLINE)
    assert lease.remaining() == pytest.approx(DEADLINE - 101.5)


def test_what_was_handed_over_lasts_less_until_it_is_renewed() -> None:
    stage, claim = Stage(), a_claim(ttl=30)
    lease = the_lease(stage, claim, RID, TOKEN, 100.0, lasts=3.0)
    assert lease.deadline == believed_until(100.0, 3.0)
    # At risk for a third of what it lasts, not of its ttl.
    assert state_at(stage, lease, lease.deadline - 1.01) is State.HELD
    assert state_at(stage, lease, lease.deadline - 0.99) is State.AT_RISK
    assert lease._renewal().args[2] == 30_000
    lease._renewed(stage.now)
    assert lease.deadline == believed_until(stage.now, 30.0)
    assert lease.state is State.HELD


def test_a_renewal_never_shortens() -> None:
    lease = a_lease(Stage(), ttl=10)
    lease._renewed(105.0)
    assert lease.deadline == believed_until(105.0, 10.0)
    lease._renewed(103.0)  # its answer was overtaken by another
    assert lease.deadline == believed_until(105.0, 10.0)


# -- where it stands ---------------------------------------------------------------

AT_RISK_AT = DEADLINE - TTL / 3


@pytest.mark.parametrize(
    ("now", "end", "state", "reason"),
    [
        (100.0, None, State.HELD, None),
        (AT_RISK_AT - 0.001, None, State.HELD, None),
        (AT_RISK_AT, None, State.AT_RISK, None),
        (DEADLINE - 0.001, None, State.AT_RISK, None),
        (DEADLINE + 1e-9, None, State.LOST, Reason.EXPIRED),
        (DEADLINE + 1000, None, State.LOST, Reason.EXPIRED),
        *((100.0, reason, State.LOST, reason) for reason in Reason),
        (AT_RISK_AT, Reason.STOLEN, State.LOST, Reason.STOLEN),
        (DEADLINE + 1, Reason.STOLEN, State.LOST, Reason.STOLEN),
        (100.0, State.RELEASED, State.RELEASED, None),
        (DEADLINE + 1, State.RELEASED, State.RELEASED, None),
    ],
)
def test_transitions(
    now: float, end: State | Reason | None, state: State, reason: Reason | None
) -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=TTL)
    stage.now = now
    if end is not None:
        lease._end(end)
    assert (lease.state, lease.reason) == (state, reason)
    assert lease.held is (state in {State.HELD, State.AT_RISK})
    assert (lease.remaining() > 0) is lease.held


def test_who_is_renewed_is_at_risk_no_more() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=TTL)
    assert state_at(stage, lease, AT_RISK_AT) is State.AT_RISK
    lease._renewed(stage.now)
    assert lease.state is State.HELD


def test_who_needs_no_further_renewal_is_not_at_risk() -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=TTL, max_hold=10)
    for now in (100.0, 105.0, lease.deadline - 0.001):
        stage.now = now
        assert lease.state is State.HELD
    stage.now = lease.deadline
    assert lease.state is State.LOST


def test_belief_needs_no_keeper() -> None:
    """Nothing runs: neither a keeper nor a timer, and nobody is told."""
    stage = Stage()
    lease = a_lease(stage, ttl=TTL)
    stage.now = lease.deadline - 1e-6
    assert lease.held
    stage.now = lease.deadline
    assert not lease.held
    assert lease.reason is Reason.EXPIRED
    with pytest.raises(LeaseLost):
        lease.check()


@pytest.mark.parametrize(
    ("ends", "state", "reason"),
    [
        ([Reason.BROKEN, Reason.STOLEN], State.LOST, Reason.BROKEN),
        ([Reason.BROKEN, State.RELEASED], State.LOST, Reason.BROKEN),
        ([State.RELEASED, Reason.UNKEPT], State.RELEASED, None),
    ],
)
def test_the_first_end_stands(
    ends: list[Any], state: State, reason: Reason | None
) -> None:
    lease = a_lease(Stage())
    for end in ends:
        lease._end(end)
    assert (lease.state, lease.reason) == (state, reason)


def test_what_has_ended_cannot_be_resurrected() -> None:
    stage = Stage()
    lease = a_lease(stage)
    lease._end(Reason.STOLEN)
    lease._renewed(stage.now)
    assert not lease.held
    assert lease.remaining() == 0.0


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        (State.RELEASED, NotHeld, "the lease on 'jobs' is not held: it was released"),
        (Reason.FORKED, NotHeld, "it belongs to the process that forked this one"),
        *(
            (reason, LeaseLost, f"'jobs' (token {TOKEN}) is lost: {reason.why}")
            for reason in Reason
            if reason is not Reason.FORKED
        ),
    ],
)
def test_check(end: State | Reason, error: type[CoordError], text: str) -> None:
    lease = a_lease(Stage())
    lease.check()
    lease._end(end)
    with pytest.raises(error) as told:
        lease.check()
    assert text in str(told.value)
    if isinstance(told.value, LeaseLost):
        assert told.value.name == "jobs"
        assert told.value.token == TOKEN
        assert told.value.reason is end


def test_every_reason_says_why() -> None:
    reasons = {reason.why for reason in Reason}
    assert len(reasons) == len(Reason)
    assert all(why and why[-1] not in ".:" for why in reasons)


# -- watchers ----------------------------------------------------------------------


def test_watchers_are_told_of_every_end() -> None:
    for end in (*Reason, State.RELEASED):
        lease = a_lease(Stage())
        told: list[State] = []

        def tell(lease: Lease = lease, told: list[State] = told) -> None:
            told.append(lease.state)

        lease._watch(tell)
        lease._end(end)
        assert told == [lease.state], "told when it has ended, not before"


def test_who_does_not_watch_any_more_is_not_told() -> None:
    lease = a_lease(Stage())
    told: list[str] = []

    def one() -> None:
        told.append("one")
        lease._unwatch(one)  # in the middle of being told
        lease._unwatch(one)  # twice does no harm

    lease._watch(one)
    lease._watch(lambda: told.append("two"))
    lease._end(Reason.STOLEN)
    lease._end(Reason.STOLEN)
    assert told == ["one", "two", "two"]


def test_the_deadline_alone_tells_nobody() -> None:
    stage = Stage()
    lease = a_lease(stage)
    told: list[str] = []
    lease._watch(lambda: told.append("told"))
    stage.now = lease.deadline
    assert lease.state is State.LOST
    assert told == []


# -- what its renewal asks ---------------------------------------------------------


def test_the_renewal_of_a_lock_held_alone() -> None:
    renewal = a_lease(Stage(), ttl=10, lock_delay=1.5)._renewal()
    at = "ck:1:ns:{b0}:"
    keys = (f"{at}lock:jobs", f"{at}index", f"{at}tomb:{RID}", f"{at}fence")
    assert renewal == ("lock_renew", keys, (RID, TOKEN, 10_000, 1500, "lock:jobs"))


def test_the_renewal_of_a_shared_lock() -> None:
    renewal = a_lease(Stage(), ttl=10, slots=3)._renewal()
    at = "ck:1:ns:{b0}:"
    keys = (f"{at}holders:jobs", f"{at}records:jobs", f"{at}index")
    assert renewal == (
        "share_renew",
        (*keys, f"{at}tomb:{RID}", f"{at}fence"),
        (RID, TOKEN, 10_000, "lock:jobs"),
    )


@pytest.mark.parametrize(
    ("now", "granted"), [(100, 10_000), (105, 10_000), (107, 8000), (114.9996, 1)]
)
def test_a_renewal_asks_for_nothing_beyond_max_hold(now: float, granted: int) -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=10, max_hold=15)
    stage.now = now
    assert lease._renewal().args[2] == granted


# -- repr --------------------------------------------------------------------------


def _nothing(stage: Stage, lease: Lease) -> None:
    pass


def _late(stage: Stage, lease: Lease) -> None:
    stage.now = lease.deadline - 1


@pytest.mark.parametrize(
    ("happens", "shown"),
    [
        (_nothing, "held, 29.698 s left"),
        (_late, "at risk, 1.000 s left"),
        (lambda _, lease: lease._end(Reason.DATA_LOST), "lost (data_lost)"),
        (lambda _, lease: lease._end(State.RELEASED), "released"),
    ],
)
def test_repr_shows_where_it_stands(
    happens: Callable[[Stage, Lease], None], shown: str
) -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=30)
    happens(stage, lease)
    assert repr(lease) == f"<LockLease 'jobs' token={TOKEN} {shown}>"
