"""What a live node does for its ring, question by question, and what it believes meanwhile."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

from coordkit._core.ops import Listen, Pipeline, Rest, Tell, Wait
from coordkit._core.ring_live import Life, pending, settled
from coordkit._core.ring_local import LocalRing
from coordkit._core.ring_member import (
    Assigned,
    NodeLease,
    Revoked,
    live_circle,
    live_record,
)
from coordkit._core.ring_node import Node
from coordkit._core.ring_snapshot import Range, Snapshot
from coordkit._core.ring_tend import MASS_PAUSE, Tender
from coordkit.errors import KeyConflict, Reason, Unreachable
from core import rings
from core.props import no_answer
from core.rings import RING, bare
from core.script import Line, Stage, Took

GRACE = 60.0
CIRCLE = live_circle("ns", RING, 10.0, 2.0)
NOW = 1_700_000_000


class _Node(NodeLease):
    __slots__ = ("_tender",)


class Play:
    """A node ``a`` that has joined by a membership of token 1, on a stage."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.woken: list[str] = []
        self.stirred = 0
        self.local = LocalRing(RING, 30.0, nullcontext(), lambda _: None)
        record = live_record(Node("a"), GRACE)
        made = CIRCLE, record, "r-a", 1, self.stage.now
        self.node = _Node(*made, rejoins=True, clock=self.stage.clock)
        ways = (lambda: "r" * 32), self._stir, self.woken.append
        self.tender = Tender(RING, self.local, CIRCLE, self.node, *ways)
        self.node._tender = self.tender
        self.version = 0

    def _stir(self) -> None:
        self.stirred += 1

    def looks(self, ring: Snapshot | None, there: dict[str, int]) -> Line:
        """The line that asks how the ring is, and who is there."""
        return (
            Pipeline,
            [rings.whole(ring) if ring else rings.NONE, self.there(there)],
        )

    def there(self, tokens: dict[str, int]) -> list[Any]:
        """These nodes are there, by memberships of these tokens."""
        self.version += 1
        fields: list[bytes] = [b"birth", b"7", b"version", b"%d" % self.version]
        ends: list[bytes] = []
        for name, token in tokens.items():
            record = live_record(Node(name), GRACE).stored()
            stored = f"{token}\n{NOW}000\n10000\n1\n{record}".encode()
            rid = f"r-{name}".encode()
            fields += [rid, stored, b"pace:" + rid, b"3333", f"id:{name}".encode(), rid]
            ends += [rid, b"%d" % (NOW * 1000 + 10_000)]
        head: list[Any] = [b"members", b"7", b"%d" % self.version, NOW * 1000, 9000]
        return [*head, fields, ends]

    def knows(self, ring: Snapshot, there: dict[str, int]) -> None:
        """Have it know this, as its follower tells it."""
        value = self.there(there)
        self.local.adopt(ring, self.stage.now, self.stage.now)
        self.tender.take(value, self.stage.now, self.stage.now)

    def tend(self, *lines: Line) -> None:
        self.stage.play(self.tender.tend(), lines)

    def owns(self) -> int:
        return len(self.tender.slots())


def lives(**tokens: int) -> dict[str, Life]:
    return {n: Life(t, Node(n, grace=GRACE)) for n, t in tokens.items()}


def ring_of(**tokens: int) -> Snapshot:
    made = settled(bare(), lives(**tokens), NOW)
    assert made is not None
    return made


def next_of(ring: Snapshot, given: Any = (), **tokens: int) -> Snapshot:
    made = settled(ring, lives(**tokens), NOW, given=given)
    assert made is not None
    return made


ALONE = ring_of(a=1)
WITH_B = next_of(ALONE, a=1, b=2)
GOING = pending(WITH_B, "a", 1, lives(a=1, b=2))
HANDED = next_of(WITH_B, GOING, a=1, b=2)


def commits(ring: Snapshot) -> Line:
    return ("ring_commit", Took(0.01, rings.committed(ring)))


CHANGED: Line = ("ring_commit", [b"changed", b"9"])


# -- what it does -------------------------------------------------------------------------


def test_it_makes_the_ring_if_there_is_none() -> None:
    play = Play()
    op = play.tender.enter()
    first = play.looks(None, {"a": 1})
    again = (Pipeline, [rings.SAME, play.there({"a": 1})])
    play.stage.play(op, [first, commits(ALONE), again])
    assert play.owns() == 16_384
    (commit,) = play.stage.calls()
    assert commit.args[11] == "r-a", "as itself"


def test_what_it_is_to_hand_over_is_not_its_own_from_before_it_asks() -> None:
    play = Play()
    play.knows(WITH_B, {"a": 1, "b": 2})
    assert play.owns() == 1024
    op = play.tender.tend()
    asked = next(op)
    assert play.owns() == 512
    play.stage.say(op, asked, commits(HANDED))
    assert play.owns() == 512


def test_it_is_handed_over_when_more_is_asked_for() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    changes = play.tender.changes("r-c")
    tells: Any = play.stage.upto(changes, [(Listen, None)])
    assert tells == Tell(Assigned((Range(0, 1023),)))
    waits = play.stage.say(changes, tells, (Tell, None))
    play.knows(WITH_B, {"a": 1, "b": 2})
    play.tend()
    assert play.owns() == 512
    assert play.woken[-1] == "r-c"
    revoked: Any = play.stage.say(changes, waits, (Wait, Took(0.0)))
    assert not revoked.value.lost
    assert sum(r.last + 1 - r.first for r in revoked.value.ranges) == 512
    assert not play.stirred
    play.tend()  # what was begun may end
    assert isinstance(play.stage.say(changes, revoked, (Tell, None)), Wait)
    assert play.stirred
    again = (Pipeline, [rings.SAME, play.there({"a": 1, "b": 2})])
    play.tend(commits(HANDED), again)


def test_a_loss_is_told_as_one() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    changes = play.tender.changes("r-c")
    waits: Any = play.stage.upto(changes, [(Listen, no_answer()), (Tell, None)])
    assert waits.timeout == 1.0
    play.stage.now = play.node.deadline
    lost: Any = play.stage.say(changes, waits, (Wait, Took(0.0)))
    assert lost == Tell(Revoked((Range(0, 1023),), lost=True))


def test_whoever_loses_the_race_finds_it_made() -> None:
    play = Play()
    play.knows(WITH_B, {"a": 1, "b": 2})
    play.tend(CHANGED, play.looks(HANDED, {"a": 1, "b": 2}))
    assert play.owns() == 512
    assert play.local.known().version == HANDED.version


def test_who_lives_after_all_is_looked_for_again() -> None:
    play = Play()
    three = ring_of(a=1, b=2, c=3)
    play.knows(three, {"a": 1, "b": 2})
    refused: Line = ("ring_commit", [b"alive", b"c"])
    play.tend(refused, play.looks(three, {"a": 1, "b": 2, "c": 3}))


# -- what it believes ---------------------------------------------------------------------


def test_it_owns_nothing_by_another_membership_than_the_ring_names() -> None:
    play = Play()
    play.knows(ring_of(a=7), {"a": 7})
    assert play.owns() == 0
    assert not play.node.owns("x")
    assert play.node.token_of("x") is None
    assert play.node.ranges() == []


def test_it_owns_nothing_once_its_lease_has_passed() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    assert play.node.owns("x")
    epoch = ALONE.epochs[0]
    assert play.node.token_of("x") == rings.FLOOR + epoch
    play.stage.now = play.node.deadline
    assert not play.node.owns("x")


def test_it_owns_nothing_once_the_ring_was_not_heard_of_for_too_long() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    play.stage.now = play.local.deadline - 0.1
    play.node._renewed(play.stage.now)
    assert play.node.owns("x")
    play.stage.now = play.local.deadline
    assert play.node.held
    assert not play.node.owns("x"), "though nobody has noticed yet"


def test_what_it_let_go_stays_so_while_nobody_knows_whether_it_was_made() -> None:
    play = Play()
    play.knows(WITH_B, {"a": 1, "b": 2})
    with pytest.raises(Unreachable):
        play.tend(("ring_commit", Took(9.0, no_answer())))
    play.node._renewed(play.stage.now)
    assert play.owns() == 512
    # b is not there now: so there is nobody to hand over to, but it may have been done.
    play.knows(WITH_B, {"a": 1})
    op = play.tender.tend()
    next(op)
    assert play.owns() == 512
    # Another version: it was refused, or is to be seen in it.
    alone = next_of(WITH_B, a=1)
    op.close()
    play.knows(alone, {"a": 1})
    play.tend()
    assert play.owns() == 1024


def test_a_change_that_is_made_from_an_old_look_is_not_made() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    play.stage.now += 1
    play.local.adopt(WITH_B, play.stage.now, play.stage.now)
    request = next(play.tender.tend())
    assert isinstance(request, Pipeline), "first it looks who is there by now"


def test_who_hears_nothing_of_the_ring_does_not_hold_on_to_it() -> None:
    play = Play()
    play.knows(ALONE, {"a": 1})
    assert not play.node._is_last()
    play.stage.now = play.local.deadline
    assert play.node._is_last(), "it is renewed no more"
    assert play.node._returns(Reason.EXPIRED), "but may be back when it hears again"
    play.knows(ALONE, {"a": 1})
    assert not play.node._is_last()
    play.tender.expire(math.inf, "its follower has failed")
    assert play.node._is_last()
    assert not play.node._returns(Reason.EXPIRED)


def test_what_it_owns_is_of_one_membership(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost and back between two steps of one look: what was the old one's is not owned."""
    play = Play()
    play.knows(ALONE, {"a": 1})

    def back(*_: Any) -> bytes:
        play.node.token = 2
        return bytes([1] * 1024)

    monkeypatch.setattr("coordkit._core.ring_tend.mine", back)
    assert play.tender.held() is None


# -- when most have died at once --------------------------------------------------------------


def test_when_most_are_gone_at_once_it_waits_for_them_to_come_back() -> None:
    play = Play()
    four = ring_of(a=1, b=2, c=3, d=4)
    play.knows(four, {"a": 1})
    play.tend()
    assert play.tender.deadline <= play.stage.now + MASS_PAUSE
    play.stage.now += MASS_PAUSE / 2
    play.knows(four, {"a": 1, "b": 5})
    back = next_of(four, a=1, b=5, c=3, d=4)
    play.tend(commits(back), (Pipeline, [rings.SAME, play.there({"a": 1, "b": 5})]))
    assert "away" not in {node.state for node in play.local.known().nodes}


def test_it_does_not_wait_for_long() -> None:
    play = Play()
    four = ring_of(a=1, b=2, c=3, d=4)
    play.knows(four, {"a": 1})
    play.tend()
    play.stage.now += MASS_PAUSE
    play.knows(four, {"a": 1})
    request = next(play.tender.tend())
    assert request.script == "ring_commit"  # type: ignore[union-attr]  # it is a call


def test_for_a_few_it_does_not_wait() -> None:
    play = Play()
    play.knows(ring_of(a=1, b=2, c=3, d=4), {"a": 1, "b": 2})
    assert next(play.tender.tend()).script == "ring_commit"  # type: ignore[union-attr]


# -- it comes and goes --------------------------------------------------------------------------


def test_who_cannot_get_in_gives_up_after_a_ttl() -> None:
    play = Play()

    def answer(request: Any) -> Any:
        play.node._renewed(play.stage.now)
        if isinstance(request, Pipeline):
            return Took(0.5, [rings.whole(ring_of(b=2)), play.there({"b": 2})])
        return None if isinstance(request, Rest) else [b"alive", b"b"]

    with pytest.raises(Unreachable, match="no way into the ring"):
        play.stage.improvise(play.tender.enter(), answer)


def test_what_stands_in_the_way_is_told_in_the_end() -> None:
    play = Play()

    def answer(request: Any) -> Any:
        play.node._renewed(play.stage.now)
        if isinstance(request, Pipeline):
            ring = rings.whole(ring_of(b=2))
            return Took(0.5, [ring, play.there({"a": 1})])
        return None if isinstance(request, Rest) else [b"alive", b"b"]

    with pytest.raises(KeyConflict, match="the node 'b' of the ring 'jobs' lives"):
        play.stage.improvise(play.tender.enter(), answer)
    assert play.stage.now >= 110.0


def test_who_leaves_goes_out_of_the_ring() -> None:
    play = Play()
    gone = settled(HANDED, lives(b=2), NOW, left=["a"])
    assert gone is not None
    op = play.tender.withdraw("a", "r-a")
    play.stage.play(op, [play.looks(HANDED, {"b": 2}), commits(gone)])
    (commit,) = play.stage.calls()
    assert commit.args[2] == HANDED.version


def test_another_that_has_its_name_by_now_is_left_alone() -> None:
    play = Play()
    op = play.tender.withdraw("a", "r-a")
    play.stage.play(op, [play.looks(HANDED, {"a": 9, "b": 2})])


def test_a_race_on_the_way_out_is_run_again() -> None:
    play = Play()
    looks = play.looks(HANDED, {"b": 2}), play.looks(None, {})
    op = play.tender.withdraw("a", "r-a")
    play.stage.play(op, [looks[0], CHANGED, looks[1]])


def test_what_is_not_ours_is_no_member() -> None:
    play = Play()
    play.local.adopt(ALONE, play.stage.now, play.stage.now)
    play.tender.take(KeyConflict("foreign"), play.stage.now, play.stage.now)
    play.tend()
    value = play.there({"a": 1})
    value[5] = [b"x" if f.startswith(b"1\n") else f for f in value[5]]
    play.tender.take(value, play.stage.now, play.stage.now)
    play.tend()
    assert play.owns() == 1024


def test_what_does_not_lead_on_from_what_it_knew_makes_it_ask_for_all() -> None:
    play = Play()
    play.knows(WITH_B, {"a": 1, "b": 2})
    assert play.tender.ask().args[:2] == (7, 1)
    gone = [b"9-0", [b"what", b"died", b"rid", b"unknown", b"record", b""]]
    value = [b"changes", b"7", b"2", NOW * 1000, 9000, [gone]]
    play.tender.take(value, play.stage.now, play.stage.now)
    play.tend()
    assert play.tender.ask().args[:2] == ("", 0)
    assert play.tender.deadline <= play.stage.now + 0.5


def test_who_was_dropped_is_over() -> None:
    play = Play()
    assert not play.tender.over
    del play.node
    assert play.tender.over
    assert play.tender.held() is None
    play.tend()
