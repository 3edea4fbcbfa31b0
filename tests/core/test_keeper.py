"""The keeper: which lease is due, and what its renewal meant."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import pytest

from coordkit._core.keeper import BATCH, RETRY, SWEEP, TRIP, Keeper
from coordkit._core.lease import believed_until
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit.errors import KeyConflict, Reason, Refused, Unreachable
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
CALL = Call("lock_release", ("a key",), ("an argument",), 1.5)
DRAWS = [0.0, 0.5, 0.999]


# -- when --------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("ttl", [0.05, 3.0, 30.0, 604_800.0])
def test_a_renewal_is_due_after_a_third_of_the_ttl(draw: float, ttl: float) -> None:
    stage, keeper = Stage(), a_keeper(draw)
    lease = a_lease(stage, ttl=ttl)
    keeper.add(lease, stage.now)
    stage.play(keeper.keep(), [(Rest, None), (Pipeline, Took(0.001, kept(1))), STOP])
    first, second = (until - 100 for until in rests(stage))
    jitter = 0.9 + 0.2 * draw
    assert first == pytest.approx(ttl / 3 * jitter)
    assert second - first == pytest.approx(ttl / 3 * jitter)  # from before the question
    assert jitter == pytest.approx(1.0, abs=0.1)
    assert lease.deadline == pytest.approx(believed_until(100 + first, ttl))


def test_what_was_handed_over_is_due_after_a_third_of_what_it_lasts() -> None:
    stage, keeper = Stage(), a_keeper()
    lease = the_lease(stage, a_claim(ttl=30), RID, TOKEN, stage.now, lasts=3.0)
    keeper.add(lease, stage.now)
    stage.play(keeper.keep(), [(Rest, None), (Pipeline, kept(1)), STOP])
    assert rests(stage) == [pytest.approx(101), pytest.approx(111)]


def test_it_rests_without_end_while_nothing_is_kept() -> None:
    stage = Stage()
    stage.play(a_keeper().keep(), [STOP])
    assert rests(stage) == [math.inf]


def test_it_is_stirred_only_for_what_is_due_before_it_looks_next() -> None:
    stage, keeper = Stage(), a_keeper()
    op = keeper.keep()
    stage.upto(op, [])
    first, second = several(stage, 2)
    sooner = a_lease(stage, ttl=3)
    assert keeper.add(first, stage.now), "it rests without end"
    stage.say(op, Rest(math.inf), (Rest, Took(0.0)))
    assert not keeper.add(second, stage.now + 0.001)
    assert keeper.add(sooner, stage.now)


def test_a_released_lease_does_not_make_the_next_acquisition_stir() -> None:
    """One after the other, as in a loop of ``with lock:``, the thread sleeps on."""
    stage, keeper = Stage(), a_keeper()
    op = keeper.keep()
    stage.upto(op, [])
    first = a_lease(stage)
    keeper.add(first, stage.now)
    stage.say(op, Rest(math.inf), (Rest, Took(0.0)))
    keeper.drop(first)
    for n in range(5):
        lease = a_lease(stage, rid=f"{n:032x}x")
        assert not keeper.add(lease, stage.now + n)
        keeper.drop(lease)


def test_after_the_last_release_it_looks_once_more_and_rests() -> None:
    stage, keeper = Stage(), a_keeper()
    lease = a_lease(stage, ttl=30)
    keeper.add(lease, stage.now)
    keeper.drop(lease)
    stage.play(keeper.keep(), [(Rest, None), STOP])
    assert rests(stage) == [pytest.approx(110), math.inf]


def test_what_is_due_soon_comes_along() -> None:
    def renewed_together(ttl: float, apart: float) -> int:
        stage, keeper = Stage(), a_keeper()
        leases = several(stage, 2, ttl=ttl)
        keeper.add(leases[0], stage.now)
        keeper.add(leases[1], stage.now + apart)
        trip = stage.upto(keeper.keep(), [(Rest, None)])
        assert isinstance(trip, Pipeline)
        return len(trip.calls[0].keys) // 4

    assert renewed_together(30.0, 0.49) == 2
    assert renewed_together(30.0, 0.51) == 1
    assert renewed_together(3.0, 0.09) == 2
    assert renewed_together(3.0, 0.11) == 1


# -- together ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])],
)
def test_a_call_carries_a_hundred_leases_at_most(count: int, sizes: list[int]) -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, count)
    keep(keeper, leases, stage.now)
    stage.play(keeper.keep(), [(Rest, None), (Pipeline, kept(*sizes)), STOP])
    (trip,) = trips(stage)
    assert [len(call.keys) // 4 for call in trip.calls] == sizes
    assert {call.script for call in trip.calls} == {"lock_renew"}
    asked = {arg for call in trip.calls for arg in call.args[::5]}
    assert asked == {lease.holder for lease in leases}
    assert all(lease.deadline > 130 for lease in leases)


def test_a_trip_carries_ten_calls_at_most() -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, BATCH * TRIP + 30)
    keep(keeper, leases, stage.now)
    lines: list[Line] = [
        (Rest, None),
        (Pipeline, kept(*[BATCH] * TRIP)),
        (Rest, None),
        (Pipeline, kept(30)),
        STOP,
    ]
    stage.play(keeper.keep(), lines)
    assert stage.now == pytest.approx(110), "the rest of them at once"


@pytest.mark.parametrize("scatter", [True, False])
def test_where_a_script_may_touch_one_slot_only_each_has_its_call(
    scatter: bool,
) -> None:
    stage, keeper = Stage(), a_keeper(scatter=scatter)
    leases = several(stage, 40)
    keep(keeper, leases, stage.now)
    trip = stage.upto(keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    buckets = [{key[: key.index("}")] for key in call.keys} for call in trip.calls]
    if scatter:
        assert all(len(each) == 1 for each in buckets)
        assert len(set.union(*buckets)) == len(buckets) > 20
    else:
        assert len(trip.calls) == 1


def test_each_kind_has_its_script() -> None:
    stage, keeper = Stage(), a_keeper()
    alone = a_lease(stage, "alone", rid="a" * 32 + "x")
    shared = a_lease(stage, "shared", rid="b" * 32 + "s", shared=True)
    keep(keeper, [alone, shared], stage.now)
    trip = stage.upto(keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    calls = {call.script: call for call in trip.calls}
    for lease, script in ((alone, "lock_renew"), (shared, "share_renew")):
        assert calls[script][1:3] == lease._renewal()[1:]


def test_a_trip_is_as_patient_as_its_shortest_lease() -> None:
    stage, keeper = Stage(), a_keeper(ceiling=1.2)
    (long,) = several(stage, 1, ttl=30)
    keeper.add(long, stage.now)
    stage.now = long._due
    short = a_lease(stage, ttl=2)
    keeper.add(short, stage.now - 2 / 3)
    keeper.defer(CALL, math.inf)
    trip = stage.upto(keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    assert trip.timeout == pytest.approx(0.4)
    assert len(trip.calls[0].keys) == 8
    assert trip.calls[0].timeout == pytest.approx(0.4)
    assert trip.calls[1] == CALL


def test_no_trip_is_more_patient_than_the_session() -> None:
    stage, keeper = Stage(), a_keeper(ceiling=1.2)
    lease = a_lease(stage)
    keeper.add(lease, stage.now)
    trip = stage.upto(keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    assert trip.timeout == 1.2


# -- dropped -------------------------------------------------------------------------


def test_a_lease_that_its_holder_has_dropped_is_renewed_no_more() -> None:
    stage, keeper = Stage(), a_keeper()
    kept_on = a_lease(stage, "kept", rid="a" * 32 + "x")
    keeper.add(kept_on, stage.now)
    keeper.add(a_lease(stage, "dropped", rid="b" * 32 + "x"), stage.now)
    gc.collect()
    assert keeper.leases() == [kept_on]
    trip = stage.upto(keeper.keep(), [(Rest, None)])
    assert isinstance(trip, Pipeline)
    assert trip.calls[0].args[::5] == (kept_on.holder,)
    assert list(keeper._leases) == [kept_on.holder]


def test_what_was_released_is_swept_out() -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, 10)
    keep(keeper, leases, stage.now)
    lease = a_lease(stage, rid="c" * 32 + "x")
    largest = 0
    for n in range(100_000):
        keeper.add(lease, stage.now + n / 1000)
        keeper.drop(lease)
        largest = max(largest, len(keeper._heap))
    assert largest <= SWEEP + 4 * (len(leases) + 2)
    assert len(keeper._leases) == len(leases)
    assert {entry[1] for entry in keeper._heap} >= {each.holder for each in leases}


def test_it_is_abandoned_loudly() -> None:
    stage, keeper = Stage(), a_keeper()
    leases = several(stage, 3)
    keep(keeper, leases, stage.now)
    told: list[str] = []
    for lease in leases:
        lease._watch(lambda: told.append("lost"))
    keeper.abandon()
    assert {lease.reason for lease in leases} == {Reason.UNKEPT}
    assert told == ["lost"] * 3
    assert keeper.leases() == []


# -- deferred calls --------------------------------------------------------------------


def deferring(stage: Stage, until: float) -> tuple[Keeper, Op[None]]:
    keeper = a_keeper()
    op = keeper.keep()
    keeper.defer(CALL, until)
    return keeper, op


@pytest.mark.parametrize("answer", [[b"released"], KeyConflict("odd"), Refused("full")])
def test_a_deferred_call_is_made_at_once_and_forgotten(answer: Any) -> None:
    stage = Stage()
    _, op = deferring(stage, 200.0)
    stage.play(op, [(Rest, None), (Pipeline, [answer]), STOP])
    assert trips(stage) == [Pipeline((CALL,), CALL.timeout)]
    assert rests(stage)[-1] == math.inf


@pytest.mark.parametrize("error", [no_answer, not_sent])
def test_a_deferred_call_is_made_again_until_it_is_answered(
    error: Callable[[], Unreachable],
) -> None:
    stage = Stage()
    _, op = deferring(stage, 200.0)
    failing: list[Line] = [(Rest, None), (Pipeline, error()), (Rest, None)]
    stage.play(
        op, [*failing, *failing, (Rest, None), (Pipeline, [[b"released"]]), STOP]
    )
    assert [until - 100 for until in rests(stage)[:-1]] == pytest.approx(
        [sum(RETRY) / 2, sum(RETRY)]
    )


def test_a_deferred_call_that_a_server_could_not_make_now_is_made_again() -> None:
    """As of a server that is loading its data, while others of the trip are answered."""
    stage = Stage()
    _, op = deferring(stage, 200.0)
    lines: list[Line] = [(Rest, None), (Pipeline, [not_sent()]), (Rest, None)]
    stage.play(op, [*lines, (Pipeline, [[b"released"]]), STOP])


def test_a_deferred_call_that_could_not_be_made_waits_for_its_turn() -> None:
    stage = Stage()
    _, op = deferring(stage, 200.0)
    stage.upto(op, [(Rest, None), (Pipeline, [not_sent()]), (Rest, None)])
    assert 100.05 <= stage.now <= 100.2


def test_a_deferred_call_that_is_too_old_is_forgotten() -> None:
    stage = Stage()
    keeper, op = deferring(stage, 100.5)
    lines: list[Line] = [(Rest, None), (Pipeline, Took(1.0, no_answer())), (Rest, None)]
    stage.play(op, [*lines, (Rest, None), STOP])
    assert len(trips(stage)) == 1
    assert keeper._deferred == []


def test_a_deferred_call_travels_with_the_renewals() -> None:
    stage = Stage()
    keeper, op = deferring(stage, 200.0)
    lease = a_lease(stage)
    keeper.add(lease, stage.now - 10)
    stage.play(op, [(Rest, None), (Pipeline, [[b"kept"], [b"released"]]), STOP])
    assert [call.script for call in trips(stage)[0].calls] == [
        "lock_renew",
        CALL.script,
    ]
    assert lease.held


def test_a_call_deferred_during_a_trip_is_not_taken_for_made() -> None:
    stage = Stage()
    keeper, op = deferring(stage, 200.0)
    trip = stage.upto(op, [(Rest, None)])
    other = CALL._replace(args=("another",))
    keeper.defer(other, 200.0)
    rest = stage.say(op, trip, (Pipeline, [[b"released"]]))
    trip = stage.say(op, rest, (Rest, None))
    assert trip == Pipeline((other,), CALL.timeout)
