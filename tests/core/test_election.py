"""The election, as operations: its times, its terms, and what operators ask of it."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from coordkit._core.election import (
    MOST_PRIORITY,
    Times,
    election_times,
    listing,
    office,
    pause_seconds,
    reason_text,
    standing,
)
from coordkit._core.keys import BUCKETS, election_keys, lock_keys
from coordkit._core.lease import State, believed_until
from coordkit._core.lock import acquire_call, release, release_call
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit._core.terms import Leader
from coordkit.errors import (
    KeyConflict,
    LeadershipLost,
    NoCandidate,
    NoLeader,
    NotHeld,
    Reason,
    Refused,
    Unreachable,
)
from core.props import (
    OFFICE,
    RID,
    TIMES,
    TOKEN,
    a_campaign,
    a_keeper,
    a_standing,
    a_term,
    keep,
    kept,
    led_by,
    look,
    no_answer,
    wanting,
)
from core.script import Line, Stage, Took, play

A_NUMBER: Any = 1


# -- times that agree ------------------------------------------------------------------


def times(**given: Any) -> Times:
    return election_times(**{**TIMES, **given})


def test_what_is_not_said_follows_from_the_ttl() -> None:
    assert times(ttl=15) == Times(15, 10, 5, 0, None, 3)
    assert times(ttl=timedelta(minutes=1)).renew_deadline == 40


def test_what_is_renewed_follows_from_a_short_deadline() -> None:
    assert times(ttl=15, renew_deadline=6).renew_every == 3
    assert times(ttl=15, renew_deadline=14).renew_every == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"renew_deadline": 15}, "renew_deadline=15 s must be less than ttl=15 s"),
        ({"renew_deadline": 20}, "renew_deadline=20 s must be less than ttl=15 s"),
        ({"ttl": 2, "renew_deadline": 10}, "renew_deadline=10 s must be .* ttl=2 s"),
        (
            {"renew_every": 10},
            "renew_every=10 s, which may become 11 s, must be .* renew_deadline=10 s",
        ),
        (
            {"renew_every": 9.5},
            "renew_every=9.5 s, which may become 10.45 s, .* renew_deadline=10 s",
        ),
        (
            {"renew_every": 2, "renew_deadline": 2},
            "renew_every=2 s, .* renew_deadline=2 s",
        ),
        ({"max_term": 14}, "max_term=14 s must not be less than ttl=15 s"),
    ],
)
def test_times_that_contradict_each_other(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        times(**given)


def test_times_that_only_just_agree() -> None:
    assert times(renew_deadline=14.9, renew_every=13.5, max_term=15).max_term == 15


WHATS = (
    *("ttl", "renew_deadline", "renew_every", "handover_delay", "max_term"),
    "waiter_ttl",
)


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 8 * 86_400])
def test_a_time_that_is_none(what: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{what}={value} is not between"):
        times(**{what: value})


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("value", [True, "1", [1]])
def test_a_time_is_a_number(what: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{what} is a number of seconds"):
        times(**{what: value})


def test_what_a_repr_shows() -> None:
    assert times().shown() == "ttl=15 renew_deadline=10"
    assert times(max_term=60).shown() == "ttl=15 renew_deadline=10 max_term=60"


# -- how one stands --------------------------------------------------------------------


@pytest.mark.parametrize("priority", [0, -MOST_PRIORITY, MOST_PRIORITY])
def test_a_priority(priority: int) -> None:
    assert standing(priority, {"a": 1}, preempt=True) == (priority, '{"a":1}', True)


@pytest.mark.parametrize("priority", [MOST_PRIORITY + 1, -MOST_PRIORITY - 1, 10**9])
def test_a_priority_that_is_too_far_away(priority: int) -> None:
    with pytest.raises(ValueError, match=f"priority={priority} is not between -100"):
        standing(priority, None, preempt=False)


@pytest.mark.parametrize("priority", [1.0, True, "1", None])
def test_a_priority_is_an_int(priority: Any) -> None:
    with pytest.raises(TypeError, match="a priority is an int, not"):
        standing(priority, None, preempt=False)


def test_to_preempt_is_yes_or_no() -> None:
    with pytest.raises(TypeError, match="preempt is True or False, not 1"):
        standing(0, None, preempt=A_NUMBER)


def test_every_priority_has_a_score_of_its_own_that_is_exact() -> None:
    """As the script reckons: a year before any that is lower, to the microsecond."""
    head_start, now = 2**45, 2_000_000_000_000_000  # in the year 2033
    for priority in range(-MOST_PRIORITY, MOST_PRIORITY + 1):
        score = now - priority * head_start
        assert int(float(score)) == score
        assert score + 1 != float(score)
        assert score > -4_000_000_000_000_000, "before all is who was named"
    assert head_start / 1e6 > 366 * 86_400


# -- what is asked ---------------------------------------------------------------------


def test_its_keys_are_no_locks() -> None:
    ours, theirs = election_keys("ns", "jobs"), lock_keys("ns", "jobs")
    for kind in ("lock", "queue", "alive", "waiters", "holders", "records"):
        assert getattr(ours, kind) == getattr(theirs, kind).replace(
            f"{kind}:", f"leader.{kind}:"
        )
    assert (ours.fence, ours.index, ours.tomb) == (
        *(theirs.fence, theirs.index),
        theirs.tomb,
    )


def test_a_campaign_says_what_is_shown_of_it() -> None:
    stands = standing(5, {"a": 1}, preempt=True)
    call = acquire_call(a_campaign(stands), RID, queue=True)
    assert call.keys[7:] == (OFFICE.keys.tomb + RID, OFFICE.history)
    assert call.args == (
        *(RID, 3000, 15_000, 0, 1, "me", '{"a":1}', "leader:jobs"),
        *(5, 1, "election:jobs", "ck:1:ns:news:leader:jobs"),
    )


def test_who_gives_up_says_so_without_a_reason() -> None:
    call = release_call(a_campaign(), RID, 60_000)
    assert call.args[-2:] == ("ck:1:ns:news:leader:jobs", "")


@pytest.mark.parametrize(
    ("why", "state", "told"),
    [("tired", None, "tired"), ("", None, ""), ("", Reason.OVER, "over")],
)
def test_who_resigns_says_why(why: str, state: Reason | None, told: str) -> None:
    stage = Stage()
    term = a_term(stage)
    if state is not None:
        term._end(state)
    with suppress(LeadershipLost):
        stage.play(release(term, why), [("lock_release", [b"released"])])
    assert stage.calls()[0].args[-1] == told


# -- terms -----------------------------------------------------------------------------


def test_a_term_is_relied_on_for_less_than_the_server_keeps_it() -> None:
    stage = Stage()
    term = a_term(stage, ttl=15, renew_deadline=9)
    assert term.deadline == believed_until(stage.now, 9)
    stage.now += 8.9
    assert term.held
    stage.now += 0.1
    assert (term.state, term.reason) == (State.LOST, Reason.EXPIRED)
    with pytest.raises(LeadershipLost, match=f"leadership of 'jobs' .term {TOKEN}. is"):
        term.check()


def test_a_term_is_at_risk_when_a_renewal_is_overdue() -> None:
    stage = Stage()
    term = a_term(stage, ttl=15, renew_deadline=10, renew_every=4)
    overdue = term.deadline - 3  # half-way between 4 and 10
    for now, state in ((overdue - 0.01, State.HELD), (overdue, State.AT_RISK)):
        stage.now = now
        assert term.state is state


def test_an_answer_that_came_too_late_for_a_term_is_none() -> None:
    """In time for the server's lease, not for what may be relied on of it."""
    stage = Stage()
    lines: list[Line] = [
        ("lock_acquire", Took(9.9, [b"taken", b"7"])),
        ("lock_release", [b"released"]),
    ]
    with pytest.raises(Unreachable, match="longer than the lease of 15 s"):
        stage.play(wanting(stage, a_campaign(), queue=False), lines)


def test_a_term_is_renewed_as_often_as_was_said() -> None:
    stage, keeper = Stage(), a_keeper()
    term = a_term(stage, ttl=15, renew_deadline=10, renew_every=2)
    keep(keeper, [term], stage.now)
    lines: list[Line] = [(Rest(102.0), None), (Pipeline, kept(1)), (Rest(104.0), True)]
    stage.play(keeper.keep(), lines)
    assert term.deadline == believed_until(102.0, 10)


def test_a_term_ends_when_it_is_to_last_no_longer() -> None:
    """The lease goes on for as long as the work may need to end."""
    stage, keeper = Stage(), a_keeper()
    term = a_term(stage, ttl=15, max_term=21)
    keep(keeper, [term], stage.now)
    end = believed_until(100.0, 21)
    lines: list[Line] = [
        *((Rest(105.0), None), (Pipeline, kept(1)), (Rest(110.0), None)),
        *((Pipeline, kept(1)), (Rest(115.0), None), (Pipeline, kept(1))),
        *((Rest(120.0), None), (Rest(end), None)),
    ]
    stage.upto(keeper.keep(), lines)
    asked = [call for call in stage.asked if isinstance(call, Pipeline)]
    assert all(call.calls[0].args[2] == 15_000 for call in asked)
    assert stage.now == end == term.deadline
    assert (term.state, term.reason) == (State.LOST, Reason.OVER)
    assert Reason.OVER.why == "it was to last no longer"


def test_near_its_end_a_term_is_not_at_risk() -> None:
    stage = Stage()
    term = a_term(stage, ttl=15, max_term=16)
    term._renewed(106.0)
    stage.now = term.deadline - 0.01
    assert term.state is State.HELD
    stage.now = term.deadline
    assert term.reason is Reason.OVER


def test_a_term_that_could_not_be_renewed_has_expired_whenever_it_was_to_end() -> None:
    stage = Stage()
    term = a_term(stage, ttl=15, max_term=60)
    stage.now = term.deadline
    assert term.reason is Reason.EXPIRED


# -- looking on ------------------------------------------------------------------------


def test_who_leads() -> None:
    stage = Stage()
    found = stage.play(OFFICE.leader(), [("election_look", led_by("you", 7))])
    assert found == Leader("you", 7, 1_700_000_000.5, {"a": 1}, 5, RID, 10.0)
    k = OFFICE.keys
    keys = (k.lock, OFFICE.history, k.queue, k.alive, k.waiters)
    assert stage.asked == [Call("election_look", keys, ("+", 0), 2.0)]


def test_nobody_leads() -> None:
    assert play(OFFICE.leader(), [("election_look", look())]) is None


@pytest.mark.parametrize(
    ("rid", "candidate", "expected"),
    [
        ("other session...", "you", False),
        ("other session...", "me", True),
        (RID, "me", False),
    ],
)
def test_a_namesake_is_one_of_another_session(
    rid: str, candidate: str, expected: bool
) -> None:
    answer = look(candidates=[(rid, f"p0\n{candidate}\n{{}}")])
    op = OFFICE.namesake("me", RID[:16])
    assert play(op, [("election_look", answer)]) is expected


def test_a_leader_may_be_a_namesake() -> None:
    line: Line = ("election_look", led_by("me"))
    assert play(OFFICE.namesake("me", "f" * 16), [line]) is True
    assert play(OFFICE.namesake("me", RID[:16]), [line]) is False


def test_who_has_no_name_has_no_namesake() -> None:
    assert play(OFFICE.namesake(None, RID[:16]), []) is False


def test_who_cannot_ask_for_namesakes_hears_of_the_outage_elsewhere() -> None:
    line: Line = ("election_look", Took(2.0, no_answer()))
    assert play(OFFICE.namesake("me", RID[:16]), [line]) is False


# -- operators -------------------------------------------------------------------------


def test_revoke() -> None:
    stage = Stage()
    lines: list[Line] = [("election_look", led_by("you")), ("lock_revoke", [b"asked"])]
    found = stage.play(OFFICE.revoke("upgrade", "you"), lines)
    assert found is not None
    assert found.identity == "you"
    k = OFFICE.keys
    keys = (k.lock, k.holders, k.records)
    assert stage.asked[1] == Call("lock_revoke", keys, (RID, "upgrade"), 2.0)


def test_revoke_without_a_reason_says_so() -> None:
    stage = Stage()
    lines: list[Line] = [("election_look", led_by("you")), ("lock_revoke", [b"asked"])]
    stage.play(OFFICE.revoke("", None), lines)
    assert stage.calls()[1].args == (RID, "asked to resign")


@pytest.mark.parametrize(
    ("answer", "who"), [(led_by("you"), "'you' does"), (look(), "nobody does")]
)
def test_who_does_not_lead_cannot_resign(answer: list[Any], who: str) -> None:
    with pytest.raises(NotHeld, match=f"'him' does not lead; {who}"):
        play(OFFICE.revoke("", "him"), [("election_look", answer)])


def test_revoke_where_nobody_leads_or_no_longer() -> None:
    assert play(OFFICE.revoke("", None), [("election_look", look())]) is None
    gone: list[Line] = [
        ("election_look", led_by("you")),
        ("lock_revoke", [b"not held"]),
    ]
    assert play(OFFICE.revoke("", None), gone) is None


def transferring(why: str = "") -> Op[Leader]:
    return OFFICE.transfer("heir", "op", why)


def test_transfer() -> None:
    stage = Stage()
    lines: list[Line] = [
        ("election_look", led_by("you")),
        ("election_transfer", [b"asked"]),
    ]
    assert stage.play(transferring(), lines).identity == "you"
    k = OFFICE.keys
    keys, why = (k.lock, k.queue, k.alive, k.waiters), "transferred to heir by op"
    assert stage.asked[1] == Call("election_transfer", keys, (RID, "heir", why), 2.0)


def test_transfer_to_who_leads_already_is_done() -> None:
    assert play(transferring(), [("election_look", led_by("heir"))]).identity == "heir"


def test_transfer_whose_answer_was_lost_is_seen_to_be_done() -> None:
    """Asked again, the old leader has resigned meanwhile, and the heir leads."""
    lines: list[Line] = [
        ("election_look", led_by("you")),
        ("election_transfer", Took(2.0, no_answer())),
        (Rest, None),
        ("election_transfer", [b"not held"]),
        ("election_look", led_by("heir", 9)),
    ]
    assert play(transferring(), lines).token == 9


def test_transfer_by_nobody() -> None:
    with pytest.raises(NoLeader, match="nobody leads 'jobs' who could hand it over"):
        play(transferring(), [("election_look", look())])


def test_transfer_to_nobody_names_the_candidates() -> None:
    answer = led_by("you")
    answer[14] = [b"r1", b"p0\nx\n{}", b"r2", b"p0\ny\n{}"]
    nobody: Line = ("election_transfer", [b"nobody"])
    with pytest.raises(NoCandidate) as refused:
        play(transferring(), [("election_look", answer), nobody])
    assert str(refused.value) == (
        "'heir' cannot be elected 'jobs': the candidates are 'x', 'y'"
    )
    assert (refused.value.name, refused.value.identity) == ("jobs", "heir")
    with pytest.raises(NoCandidate, match="there is no candidate"):
        play(transferring(), [("election_look", led_by("you")), nobody])


def test_transfer_to_one_of_several_of_that_name_is_refused() -> None:
    several: Line = ("election_transfer", [b"several"])
    with pytest.raises(NoCandidate, match="several candidates are called so"):
        play(transferring(), [("election_look", led_by("you")), several])


def test_transfer_gives_up_where_leaders_come_and_go() -> None:
    gone: Line = ("election_transfer", [b"not held"])
    lines = [("election_look", led_by("you")), gone] * 3
    with pytest.raises(NoLeader, match="change too fast"):
        play(transferring(), lines)


@pytest.mark.parametrize(("lasting", "ms"), [(None, 0), (1.5, 1500)])
def test_pause(lasting: float | None, ms: int) -> None:
    stage = Stage()
    op = OFFICE.pause(RID, "op", lasting, "upgrade")
    lines: list[Line] = [("election_look", look()), ("election_pause", [b"paused"])]
    assert stage.play(op, lines) is None
    k = OFFICE.keys
    keys = (k.lock, OFFICE.history, k.index, k.tomb + RID)
    by = 1_700_000_100_000 + 4_000
    args = (RID, by, ms, "op", "upgrade", "election:jobs", OFFICE.channel)
    assert stage.asked[1] == Call("election_pause", keys, args, 2.0)


def test_a_pause_that_comes_too_late_is_none() -> None:
    lines: list[Line] = [("election_look", look()), ("election_pause", [b"late"])]
    with pytest.raises(Unreachable, match="'jobs' goes on"):
        play(OFFICE.pause(RID, "op", None, ""), lines)


def test_resume_ends_the_pause_that_it_has_seen() -> None:
    stage = Stage()
    answer = look("paused", paused=("upgrade", "op"))
    lines: list[Line] = [("election_look", answer), ("election_resume", [b"resumed"])]
    stage.play(OFFICE.resume("me"), lines)
    keys = (OFFICE.keys.lock, OFFICE.history, OFFICE.keys.queue)
    args = ("a pause", "me", "ck:1:ns:wake:", OFFICE.channel)
    assert stage.asked[1] == Call("election_resume", keys, args, 2.0)
    play(OFFICE.resume("me"), [("election_look", look())])


def test_pause_tells_who_has_to_resign() -> None:
    lines: list[Line] = [
        ("election_look", look()),
        ("election_pause", [b"asked"]),
        ("election_look", led_by("you")),
    ]
    leader = play(OFFICE.pause(RID, "op", None, ""), lines)
    assert leader is not None
    assert leader.identity == "you"


def test_pauses_and_reasons_that_are_none() -> None:
    assert pause_seconds(timedelta(minutes=1)) == 60
    for lasting in (0, -1, math.nan, 8 * 86_400):
        with pytest.raises(ValueError, match="lasting="):
            pause_seconds(lasting)
    assert reason_text("") == ""
    for why in ("x" * 513, "two\nlines", "\x1b[31m"):
        with pytest.raises(ValueError, match="reason"):
            reason_text(why)
    with pytest.raises(TypeError, match="a reason is a str"):
        reason_text(A_NUMBER)


@pytest.mark.parametrize("name", ["", "x" * 513, "a\nb"])
def test_a_name_or_an_identity_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        office("ns", name, 2.0)
    for asking in (OFFICE.revoke("", name), OFFICE.transfer(name, "op", "")):
        with pytest.raises(ValueError, match="identity"):
            play(asking, [])


# -- listing ---------------------------------------------------------------------------


def test_listing() -> None:
    members = [[b"election:b", b"lock:x", b"leader:b"], [b"election:a"]]
    buckets = members + [[]] * (BUCKETS - 2)
    found = play(
        listing("ns", 2.0),
        [(Pipeline, buckets), (Pipeline, [led_by("you"), look("vacant")])],
    )
    assert [(info.name, info.state) for info in found] == [
        ("a", "led"),
        ("b", "vacant"),
    ]


def test_listing_where_there_is_none() -> None:
    assert play(listing("ns", 2.0), [(Pipeline, [[]] * BUCKETS)]) == []


def test_a_foreign_value_hides_no_other_election() -> None:
    buckets = [[b"election:a", b"election:b"]] + [[]] * (BUCKETS - 1)
    answers = [KeyConflict("foreign"), look("vacant")]
    found = play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, answers)])
    assert [info.name for info in found] == ["b"]


def test_a_refusal_is_told() -> None:
    buckets = [[b"election:a"]] + [[]] * (BUCKETS - 1)
    with pytest.raises(Refused):
        play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, [Refused("no")])])


def test_what_is_observed() -> None:
    subject = OFFICE.subject()
    assert subject.channel == "ck:1:ns:news:leader:jobs"
    assert subject.ask().args == ("-", 0)
    assert subject.nap() == math.inf
    list(subject.read(led_by("you")))
    assert subject.nap() == 10.0
    assert len(a_standing()) == 3
