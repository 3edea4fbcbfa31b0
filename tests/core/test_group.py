"""The group, as operations: joining, being heard of, coming back, leaving."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from coordkit._core import group
from coordkit._core.group import MemberLease, circle, listing
from coordkit._core.keys import BUCKETS
from coordkit._core.lease import State, believed_until
from coordkit._core.members import a_record
from coordkit._core.ops import Call, Defer, Op, Pipeline, Rest
from coordkit.errors import (
    KeyConflict,
    LeaseLost,
    NotHeld,
    Reason,
    Refused,
    Unreachable,
)
from core.props import (
    CIRCLE,
    RECORD,
    RID,
    TOKEN,
    a_keeper,
    a_member,
    keep,
    kept,
    no_answer,
    rests,
    trips,
)
from core.script import Line, Stage, Took, play

JOINED = [[b"joined", str(TOKEN).encode()]]
LEFT: Line = ("group_leave", [b"left"])


def joining(stage: Stage, *, replace: bool = False) -> Op[MemberLease]:
    def make(token: int, asked_at: float) -> MemberLease:
        return MemberLease(
            CIRCLE, RECORD, RID, token, asked_at, rejoins=True, clock=stage.clock
        )

    return group.join(CIRCLE, RECORD, RID, make, now=stage.now, replace=replace)


def rejoined(*tokens: int) -> list[list[Any]]:
    """The answer to a trip of one call: these have joined again."""
    return [[[b"joined", str(token).encode()] for token in tokens]]


# -- joining ---------------------------------------------------------------------------


def test_join() -> None:
    stage = Stage()
    member = stage.play(joining(stage), [("group_join", JOINED)])
    assert (member.identity, member.token, member.state) == ("me", TOKEN, State.HELD)
    assert member.deadline == believed_until(100.0, 9.0)
    k = CIRCLE.keys
    keys = (k.group, k.alive, k.log, k.index, k.tomb + RID, k.fence)
    args = (RID, 9000, 1, "me", RECORD.stored(), 0, "group:jobs", CIRCLE.channel)
    assert stage.asked == [Call("group_join", keys, args, 1.8)]


def test_join_in_the_place_of_another() -> None:
    stage = Stage()
    stage.play(joining(stage, replace=True), [("group_join", JOINED)])
    assert stage.calls()[0].args[5] == 1


def test_an_identity_that_is_taken() -> None:
    with pytest.raises(
        KeyConflict, match="'me' is a member of the group 'jobs' already"
    ):
        play(joining(Stage()), [("group_join", [[b"taken"]])])


PATIENT = replace(CIRCLE, patient=True)
TAKEN: Line = ("group_join", [[b"taken"]])


def patiently(stage: Stage) -> Op[MemberLease]:
    def make(token: int, asked_at: float) -> MemberLease:
        made = PATIENT, RECORD, RID, token, asked_at
        return MemberLease(*made, rejoins=True, clock=stage.clock)

    return group.join(PATIENT, RECORD, RID, make, now=stage.now, replace=False)


def test_the_place_of_one_who_has_died_is_waited_for() -> None:
    stage = Stage()
    pause: Line = (Rest, None)
    lines = [TAKEN, pause, TAKEN, pause, ("group_join", JOINED)]
    member = stage.play(patiently(stage), lines)
    assert member.held
    assert stage.now == 100 + 2 * 9.0 / 20
    assert len({call.args[0] for call in stage.calls()}) == 1, "one request"


def test_who_lives_is_not_waited_for_for_ever() -> None:
    stage = Stage()

    def taken(request: Any) -> Any:
        return None if isinstance(request, Rest) else [[b"taken"]]

    with pytest.raises(KeyConflict, match="another process is 'me' of 'jobs'"):
        stage.improvise(patiently(stage), taken)
    assert stage.now == 100 + 9.0 + group.LAST_LOOK


def test_an_identity_that_is_taken_after_a_lost_answer() -> None:
    """The question before may arrive when the other has left: then it must not join."""
    lines: list[Line] = [
        ("group_join", Took(1.8, no_answer())),
        (Rest, None),
        ("group_join", [[b"taken"]]),
        ("group_leave", [b"not ours"]),
    ]
    with pytest.raises(KeyConflict):
        play(joining(Stage()), lines)


def test_a_lost_answer_is_asked_for_again() -> None:
    stage = Stage()
    lines: list[Line] = [
        ("group_join", Took(1.8, no_answer())),
        (Rest, None),
        ("group_join", JOINED),
    ]
    member = stage.play(joining(stage), lines)
    assert member.deadline > believed_until(101.0, 9.0)
    assert len({call.args for call in stage.calls()}) == 1


def test_an_outage_of_a_ttl_is_told_and_nothing_is_left_behind() -> None:
    stage = Stage()

    def answer(request: Any) -> Any:
        if isinstance(request, Call):
            return Took(1.0, no_answer())
        return None

    with pytest.raises(Unreachable) as told:
        stage.improvise(joining(stage), answer)
    last = stage.asked[-1]
    assert isinstance(last, Defer)
    assert last.call.script == "group_leave"
    assert "leaving 'jobs' was not confirmed" in told.value.__notes__[0]
    assert 109.0 <= stage.now < 112.0


def test_an_answer_that_took_longer_than_a_ttl_is_none() -> None:
    lines: list[Line] = [("group_join", Took(9.0, JOINED)), LEFT]
    stage = Stage()
    with pytest.raises(
        Unreachable, match="longer than a member of 'jobs' may be silent"
    ):
        stage.play(joining(stage), lines)


def test_who_is_interrupted_leaves_nothing() -> None:
    stage = Stage()
    lines: list[Line] = [("group_join", KeyboardInterrupt()), LEFT]
    with pytest.raises(KeyboardInterrupt):
        stage.play(joining(stage), lines)
    lines = [("group_join", KeyboardInterrupt()), ("group_leave", KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        stage.play(joining(stage), [*lines, (Defer, None)])


def test_where_the_driver_is_gone_nobody_is_asked() -> None:
    stage = Stage()
    stage.leave(joining(stage), [])


# -- being heard of --------------------------------------------------------------------


def test_a_heartbeat() -> None:
    stage = Stage()
    member = a_member(stage)
    stage.now += 2
    stage.play(group.beat(member), [("group_beat", [b"kept"])])
    assert member.deadline == believed_until(102.0, 9.0)
    k = CIRCLE.keys
    keys = (k.group, k.alive, k.log, k.index, k.fence)
    args = (RID, TOKEN, 9000, "me", "group:jobs", CIRCLE.channel)
    assert stage.asked == [Call("group_beat", keys, args, 1.8)]


def test_a_heartbeat_that_came_too_late() -> None:
    stage = Stage()
    member = a_member(stage, rejoins=False)
    with pytest.raises(LeaseLost, match="'jobs'") as lost:
        stage.play(group.beat(member), [("group_beat", [b"expired"])])
    assert lost.value.reason is Reason.EXPIRED
    with pytest.raises(LeaseLost):
        stage.play(group.beat(member), [])


# -- coming back -----------------------------------------------------------------------


def test_who_was_buried_joins_again_at_once_and_is_somebody_new() -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    heard: list[Any] = []
    member._watch(lambda: heard.append(member.reason))
    keep(keeper, [member], stage.now)
    lines: list[Line] = [
        *((Rest(103.0), None), (Pipeline, [[b"expired"]])),
        *((Rest(103.0), None), (Pipeline, rejoined(TOKEN + 5))),
        *((Rest(106.0), None), (Pipeline, kept(1)), (Rest(109.0), True)),
    ]
    stage.play(keeper.keep(), lines)
    assert [trip.calls[0].script for trip in trips(stage)] == [
        *("group_beat", "group_join", "group_beat"),
    ]
    assert heard == [Reason.EXPIRED]
    assert (member.token, member.state, member.reason) == (TOKEN + 5, State.HELD, None)
    assert member.deadline == believed_until(106.0, 9.0)


@pytest.mark.parametrize("reason", ["evicted", "data_lost", "expired"])
def test_what_one_comes_back_from(reason: str) -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    lines: list[Line] = [(Rest, None), (Pipeline, [[reason.encode()]])]
    stage.upto(keeper.keep(), lines)
    assert member._comes_back()
    assert (member.state, member.reason) == (State.LOST, Reason(reason))


@pytest.mark.parametrize(
    ("reason", "rejoins"),
    [("stolen", True), ("conflict", True), ("expired", False), ("evicted", False)],
)
def test_what_one_does_not_come_back_from(reason: str, rejoins: bool) -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage, rejoins=rejoins)
    keep(keeper, [member], stage.now)
    lines: list[Line] = [
        *((Rest, None), (Pipeline, [[reason.encode()]])),
        (Rest(math.inf), Took(1.0, True)),
    ]
    stage.play(keeper.keep(), lines)
    assert keeper.leases() == []
    assert member.reason is Reason(reason)


def test_whose_time_is_up_joins_again_when_the_server_answers() -> None:
    """It asks seldom then: a tenth of its ttl apart."""
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    answers = iter([True] * 12 + [False] * 100)

    def answer(request: Any) -> Any:
        if isinstance(request, Rest):
            stopping = len(trips(stage)) > 20
            return Took(max(0.0, request.until - stage.now), stopping)
        if isinstance(request, Pipeline):
            if next(answers):
                return Took(0.9, no_answer())
            joins = request.calls[0].script == "group_join"
            return rejoined(TOKEN + 9) if joins else kept(1)
        return None

    stage.improvise(keeper.keep(), answer)
    asked = [trip.calls[0].script for trip in trips(stage)]
    assert asked[:2] == ["group_beat", "group_beat"]
    assert "group_join" in asked
    assert member.held
    assert member.token == TOKEN + 9
    gaps = [
        after - before
        for before, after in zip(rests(stage), rests(stage)[1:], strict=False)
    ]
    assert max(gaps[:12]) >= 0.9


def test_who_was_replaced_is_not_asked_for_when_its_time_is_up() -> None:
    """It has heard so by itself; the keeper, whose question had no answer, has not."""
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    with pytest.raises(LeaseLost):
        stage.play(group.beat(member), [("group_beat", [b"stolen"])])

    def answer(request: Any) -> Any:
        if isinstance(request, Rest):
            return Took(
                max(0.0, min(request.until, 1e9) - stage.now), request.until > 1e9
            )
        return Took(0.9, no_answer())

    stage.improvise(keeper.keep(), answer)
    assert {trip.calls[0].script for trip in trips(stage)} == {"group_beat"}
    assert keeper.leases() == []
    assert member.reason is Reason.STOLEN


def test_while_it_is_away_its_identity_may_be_taken() -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    lines: list[Line] = [
        *((Rest, None), (Pipeline, [[b"expired"]])),
        *((Rest, None), (Pipeline, [[[b"taken"]]])),
        (Rest(math.inf), Took(1.0, True)),
    ]
    stage.play(keeper.keep(), lines)
    assert member.reason is Reason.STOLEN
    assert keeper.leases() == []


def test_who_comes_back_too_late_asks_again() -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    lines: list[Line] = [
        *((Rest, None), (Pipeline, [[b"expired"]])),
        *((Rest, None), (Pipeline, Took(9.0, rejoined(TOKEN + 1)))),
        *((Rest(112.9), None), (Pipeline, rejoined(TOKEN + 2))),
        (Rest, Took(0.0, True)),
    ]
    stage.play(keeper.keep(), lines)
    assert member.token == TOKEN + 2
    assert member.held


def test_who_has_left_meanwhile_does_not_come_back() -> None:
    stage, keeper = Stage(), a_keeper()
    member = a_member(stage)
    keep(keeper, [member], stage.now)
    op = keeper.keep()
    lines: list[Line] = [(Rest, None), (Pipeline, [[b"expired"]]), (Rest, None)]
    trip = stage.upto(op, lines)
    assert isinstance(trip, Pipeline)
    keeper.drop(member)
    stage.play(group.leave(member), [LEFT])
    stage.say(op, trip, (Pipeline, rejoined(TOKEN + 1)))
    assert (member.state, member.token) == (State.RELEASED, TOKEN)


def test_when_the_keeper_ends_nobody_comes_back() -> None:
    stage, keeper = Stage(), a_keeper()
    lost, held = a_member(stage), a_member(stage, rid="f" * 32)
    keep(keeper, [lost, held], stage.now)
    lost._end(Reason.EXPIRED)
    keeper.abandon()
    assert lost.reason is held.reason is Reason.UNKEPT
    assert not lost._comes_back()
    assert keeper.leases() == []


def test_one_that_comes_back_disturbs_no_other() -> None:
    stage, keeper = Stage(), a_keeper()
    members = [a_member(stage, rid=f"{n:032x}") for n in range(3)]
    keep(keeper, members, stage.now)
    lines: list[Line] = [
        *((Rest(103.0), None), (Pipeline, [[b"kept", b"expired", b"kept"]])),
        *((Rest(103.0), None), (Pipeline, rejoined(TOKEN + 1))),
        *((Rest(106.0), None), (Pipeline, kept(3)), (Rest(109.0), True)),
    ]
    stage.play(keeper.keep(), lines)
    assert all(member.held for member in members)


# -- reporting -------------------------------------------------------------------------


def test_report() -> None:
    stage, busy = Stage(), RECORD._replace(load=0.9)
    member = a_member(stage)
    stage.play(group.report(member, busy), [("group_report", [b"reported"])])
    k = CIRCLE.keys
    keys, args = (k.group, k.alive, k.log), (RID, 2, busy.stored(), CIRCLE.channel)
    assert stage.asked == [Call("group_report", keys, args, 1.8)]
    stage.play(group.report(member, RECORD), [("group_report", [b"reported"])])
    assert stage.calls()[1].args[1] == 3


def test_a_report_of_one_that_is_away_goes_with_its_coming_back() -> None:
    stage, busy = Stage(), RECORD._replace(load=0.9)
    member = a_member(stage)
    member._end(Reason.EXPIRED)
    stage.play(group.report(member, busy), [(Defer, None)])
    assert member._renewal().args[2:5] == (2, "me", busy.stored())
    (wish,) = stage.asked
    assert isinstance(wish, Defer)
    assert wish.call.script == "group_report"
    assert wish.until == stage.now + 9


def test_a_report_without_an_answer_is_made_later() -> None:
    stage = Stage()

    def answer(request: Any) -> Any:
        return Took(1.8, no_answer()) if isinstance(request, Call) else None

    with pytest.raises(Unreachable):
        stage.improvise(group.report(a_member(stage), RECORD), answer)
    last = stage.asked[-1]
    assert isinstance(last, Defer)
    assert last.call == stage.calls()[0]


def test_a_report_of_one_that_was_buried_unknown_to_it() -> None:
    gone: Line = ("group_report", [b"gone"])
    play(group.report(a_member(Stage()), RECORD), [gone])
    with pytest.raises(LeaseLost):
        play(group.report(a_member(Stage(), rejoins=False), RECORD), [gone])


def test_who_has_left_reports_nothing() -> None:
    member = a_member(Stage())
    play(group.leave(member), [LEFT])
    with pytest.raises(NotHeld):
        play(group.report(member, RECORD), [])


# -- leaving ---------------------------------------------------------------------------


def test_leave() -> None:
    stage = Stage()
    member = a_member(stage)
    stage.play(group.leave(member), [LEFT])
    assert member.state is State.RELEASED
    k = CIRCLE.keys
    keys = (k.group, k.alive, k.log, k.index, k.tomb + RID)
    args = (RID, 60_000, "me", "group:jobs", CIRCLE.channel)
    assert stage.asked == [Call("group_leave", keys, args, 1.8)]


def test_leaving_after_a_loss_is_no_error() -> None:
    stage = Stage()
    member = a_member(stage)
    member._end(Reason.EXPIRED)
    stage.play(group.leave(member), [("group_leave", [b"not ours"])])
    assert member.state is State.RELEASED


def test_leaving_without_an_answer_is_gone_on_with() -> None:
    stage = Stage()

    def answer(request: Any) -> Any:
        return Took(1.8, no_answer()) if isinstance(request, Call) else None

    with pytest.raises(Unreachable):
        stage.improvise(group.leave(a_member(stage)), answer)
    last = stage.asked[-1]
    assert isinstance(last, Defer)
    assert last.call.script == "group_leave"


# -- looking on ------------------------------------------------------------------------


def test_look() -> None:
    stage = Stage()
    answer = [b"members", b"0", b"0", 1, -1, [], []]
    assert len(stage.play(CIRCLE.look(), [("group_look", answer)])) == 0
    k = CIRCLE.keys
    keys = (k.group, k.alive, k.log)
    assert stage.asked == [Call("group_look", keys, ("", 0, CIRCLE.channel), 2.0)]


def test_what_is_watched() -> None:
    subject = CIRCLE.subject()
    assert subject.channel == "ck:1:ns:news:group:jobs"
    assert subject.ask().args[:2] == ("", 0)
    list(subject.read([b"members", b"7", b"3", 1, 1500, [], []]))
    assert subject.ask().args[:2] == (7, 3)
    assert subject.nap() == 1.5


def test_listing() -> None:
    buckets = [[b"group:b", b"lock:x"], [b"group:a"]] + [[]] * (BUCKETS - 2)
    record = f"7\n1\n9000\n1\n{a_record('me').stored()}".encode()
    answers = [
        [b"members", b"1", b"1", 1, 5, [b"r", record], [b"r", b"9000"]],
        [b"members", b"1", b"9", 1, -1, [], []],
    ]
    found = play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, answers)])
    assert [(members.name, len(members)) for members in found] == [("a", 1)]
    assert play(listing("ns", 2.0), [(Pipeline, [[]] * BUCKETS)]) == []
    foreign = [KeyConflict("foreign"), answers[0]]
    found = play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, foreign)])
    assert [members.name for members in found] == ["b"]
    with pytest.raises(Refused):
        play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, [Refused("no")] * 2)])


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, 0.04, 8 * 86_400])
def test_a_ttl_that_cannot_be(ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl="):
        circle("ns", "jobs", ttl=ttl, timeout=2.0)


def test_a_name_that_is_none() -> None:
    with pytest.raises(ValueError, match="name"):
        circle("ns", "", ttl=1, timeout=2.0)
