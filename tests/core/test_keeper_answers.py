"""The keeper: what a renewal meant, and what none meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from coordkit._core.keeper import RETRY
from coordkit._core.lease import State, believed_until
from coordkit._core.lock import LockLease
from coordkit._core.ops import Pipeline, Request, Rest
from coordkit.errors import KeyConflict, Reason, Refused
from core.props import (
    RID,
    TOKEN,
    a_claim,
    a_keeper,
    a_lease,
    keep,
    kept,
    no_answer,
    not_sent,
    rests,
    several,
    the_lease,
    trips,
)
from core.script import Line, Stage, Took

STOP: Line = (Rest, True)
DRAWS = [0.0, 0.5, 0.999]


# -- what was answered ---------------------------------------------------------------


def test_one_lost_lease_disturbs_no_other() -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, 5)
    keep(keeper, leases, stage.now)
    told: list[str] = []
    for lease in leases:
        lease._watch(partial(told.append, lease.name))
    verdicts = [b"kept", b"stolen", b"kept", b"revoked", b"conflict"]
    by_rid = dict(zip((lease.holder for lease in leases), verdicts, strict=True))
    trip = stage.upto(op := keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    answer = [[by_rid[str(rid)] for rid in trip.calls[0].args[::5]]]
    stage.say(op, trip, (Pipeline, answer))
    assert [lease.reason for lease in leases] == [
        None,
        Reason.STOLEN,
        None,
        Reason.REVOKED,
        Reason.CONFLICT,
    ]
    assert told == ["job 1", "job 3", "job 4"]
    assert {lease.name for lease in keeper.leases()} == {"job 0", "job 2"}


@pytest.mark.parametrize("refusal", [KeyConflict("odd"), Refused("full"), not_sent()])
def test_a_refused_call_disturbs_no_other(refusal: Exception) -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, 250)
    keep(keeper, leases, stage.now)
    stage.play(
        keeper.keep(),
        [(Rest, None), (Pipeline, [*kept(100), refusal, *kept(50)]), (Rest, True)],
    )
    renewed = [lease for lease in leases if lease.deadline > 130]
    unknown = [lease for lease in leases if lease not in renewed]
    assert len(renewed) == 150
    assert {lease.state for lease in leases} == {State.HELD}
    assert rests(stage)[-1] == pytest.approx(stage.now + sum(RETRY) / 2)
    assert {lease._due for lease in unknown} == {rests(stage)[-1]}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("error", [no_answer, not_sent, lambda: Refused("no")])
def test_what_got_no_answer_is_asked_again_soon(
    draw: float, error: Callable[[], Exception]
) -> None:
    stage, keeper = Stage(), a_keeper(draw)
    lease = a_lease(stage, ttl=30)
    keeper.add(lease, stage.now)
    lines: list[Line] = [
        (Rest, None),
        (Pipeline, Took(0.4, error())),
        (Rest, None),
        (Rest, None),
        (Pipeline, kept(1)),
        STOP,
    ]
    before = lease.deadline
    stage.play(keeper.keep(), lines)
    assert 0.05 <= rests(stage)[1] - rests(stage)[0] - 0.4 <= 0.2
    assert lease.deadline > before


def told_at(
    stage: Stage, lease: LockLease, draw: float, took: float
) -> tuple[float, int]:
    """Answer nothing; return when the lease is lost, and how often it was asked about."""
    keeper, told = a_keeper(draw), list[float]()
    keeper.add(lease, stage.now)
    lease._watch(lambda: told.append(stage.now))

    def silence(request: Request) -> Any:
        if isinstance(request, Pipeline):
            assert stage.now < lease.deadline
            return Took(min(took, request.timeout), no_answer())
        return True if told else None

    stage.improvise(keeper.keep(), silence)
    assert lease.reason is Reason.EXPIRED
    assert keeper.leases() == []
    return told[0], len(trips(stage))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("ttl", [0.05, 0.5, 10.0])
@pytest.mark.parametrize("took", [0.0, 0.01, 1.7])
def test_it_asks_until_the_deadline_and_not_after(
    draw: float, ttl: float, took: float
) -> None:
    stage = Stage()
    lease = a_lease(stage, ttl=ttl)
    told, asked = told_at(stage, lease, draw, took)
    assert asked >= 2, "one lost answer alone ends no lease"
    # Told at the deadline, or when the last question is given up.
    assert told - lease.deadline == pytest.approx(0.0, abs=min(took, ttl / 5) + 1e-9)


@pytest.mark.parametrize("lasts", [0.1, 3.0])
def test_one_lost_answer_does_not_end_what_was_handed_over(lasts: float) -> None:
    stage = Stage()
    lease = the_lease(stage, a_claim(ttl=30), RID, TOKEN, stage.now, lasts)
    told, asked = told_at(stage, lease, 0.5, 2.0)
    assert asked >= 2
    assert told - lease.deadline == pytest.approx(0.0, abs=lasts / 5)


def test_a_renewal_that_comes_too_late_does_not_resurrect() -> None:
    stage, keeper = Stage(), a_keeper()
    lease = a_lease(stage, ttl=3)
    keeper.add(lease, stage.now)
    ends = lease.deadline
    lines: list[Line] = [
        (Rest, None),
        (Pipeline, Took(ends - lease._due, kept(1))),
        STOP,
    ]
    stage.play(keeper.keep(), lines)
    assert lease.deadline == ends
    assert (lease.state, lease.reason) == (State.LOST, Reason.EXPIRED)
    assert rests(stage)[-1] == math.inf, "and is renewed no more"


def test_who_slept_beyond_the_deadline_does_not_ask() -> None:
    stage, keeper = Stage(), a_keeper()
    lease = a_lease(stage, ttl=3)
    keeper.add(lease, stage.now)
    stage.play(keeper.keep(), [(Rest, Took(60.0)), STOP])
    assert lease.reason is Reason.EXPIRED


def test_what_is_released_on_the_way_stays_released() -> None:
    stage, keeper = Stage(), a_keeper()
    kept_on, gone = leases = several(stage, 2)
    keep(keeper, leases, stage.now)
    trip = stage.upto(op := keeper.keep(), [(Rest, None)])
    keeper.drop(gone)
    gone._end(State.RELEASED)
    rest = stage.say(op, trip, (Pipeline, kept(2)))
    assert gone.state is State.RELEASED
    assert keeper.leases() == [kept_on]
    trip = stage.say(op, rest, (Rest, None))
    assert isinstance(trip, Pipeline)
    assert trip.calls[0].args[0] == kept_on.holder
    assert len(trip.calls[0].args) == 5


def test_an_answer_that_means_nothing_ends_the_keeper_loudly() -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, 2)
    keep(keeper, leases, stage.now)
    for nonsense in ([[b"kept"]], [[b"kept", b"maybe"]]):
        with pytest.raises(ValueError):
            stage.play(keeper.keep(), [(Rest, None), (Pipeline, nonsense)])
        keep(keeper, leases, stage.now)


# -- max_hold ------------------------------------------------------------------------


def held_to_the_end(ttl: float, max_hold: float) -> tuple[Stage, LockLease]:
    """Renew a lease as often as the keeper asks, until it is lost."""
    stage, keeper = Stage(), a_keeper()
    lease = a_lease(stage, ttl=ttl, max_hold=max_hold)
    keeper.add(lease, stage.now)

    def renewed(request: Request) -> Any:
        if isinstance(request, Pipeline):
            ms = request.calls[0].args[2]
            assert isinstance(ms, int)
            assert stage.now + ms / 1000 <= 100 + max_hold + 0.001, "nothing beyond it"
            return kept(1)
        return True if lease.reason else None

    stage.improvise(keeper.keep(), renewed)
    return stage, lease


@pytest.mark.parametrize(
    ("ttl", "max_hold"), [(3, 4), (3, 3), (3, 3.01), (30, 15), (0.05, 1), (2, 60)]
)
def test_it_is_renewed_up_to_max_hold(ttl: float, max_hold: float) -> None:
    stage, lease = held_to_the_end(ttl, max_hold)
    assert lease.reason is Reason.EXPIRED
    assert stage.now == pytest.approx(lease.deadline)
    assert lease.deadline == pytest.approx(100 + max_hold, rel=0, abs=0.02 * max_hold)


@pytest.mark.parametrize(("ttl", "max_hold"), [(3, 4), (30, 15), (2, 60)])
def test_the_end_of_max_hold_leaves_room_for_drift(ttl: float, max_hold: float) -> None:
    _, lease = held_to_the_end(ttl, max_hold)
    assert lease.deadline <= believed_until(100, max_hold) + 0.001


def test_a_hold_shorter_than_the_ttl_needs_no_renewal() -> None:
    stage, lease = held_to_the_end(30, 15)
    assert trips(stage) == []
    assert lease.deadline == believed_until(100, 15)
