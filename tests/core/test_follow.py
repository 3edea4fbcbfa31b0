"""The follower: when it asks, what it makes of silence."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

from coordkit._core.asking import FIRST_PAUSE, LONGEST_PAUSE
from coordkit._core.follow import ASKED, LONGEST_NAP, Follower, refresh
from coordkit._core.ops import Call, Listen, Op, Pipeline, Rest, Wait
from coordkit._core.span import LONGEST_CALL
from coordkit.errors import CoordError, KeyConflict, NotPermitted, Unreachable
from core.props import no_answer
from core.script import Line, Stage, Took, play

RID = "0123456789abcdef"
CLOCK: Line = (Rest, None)
#: Too long to be asked once more.
SILENCE = Took(1.5, no_answer())


class Note:
    """A copy that notes what happens to it."""

    def __init__(
        self,
        channel: str = "a",
        max_staleness: float = 30.0,
        every: float = math.inf,
    ) -> None:
        self.channel = channel
        self.every = every
        self.max_staleness = max_staleness
        self.deadline = 100 + max_staleness
        self.taken: list[Any] = []
        self.expired: list[str] = []

    def ask(self) -> Call:
        return Call("index_list", (self.channel,), (), LONGEST_CALL)

    def take(self, value: Any, asked_at: float, heard_at: float) -> None:
        self.taken.append(value)
        self.deadline = asked_at + self.max_staleness

    def expire(self, now: float, why: str) -> None:
        if now >= self.deadline:
            self.expired.append(why)


def following(*copies: Note) -> Follower:
    follower = Follower(guard=nullcontext())
    for copy in copies:
        assert follower.add(copy)
        assert not follower.add(copy), "once"
    return follower


#: A follower of one copy has asked once since it listens, and waits.
LISTENS: list[Line] = [CLOCK, (Listen, None), CLOCK, (Pipeline, ["yes"])]


def heard(*notes: Note) -> list[Line]:
    """The lines of one round in which all is answered."""
    return [(Wait, None), CLOCK, (Pipeline, ["yes"] * len(notes))]


def test_it_listens_to_each_and_asks_about_all_in_one_trip() -> None:
    a, b = Note("a"), Note("b")
    stage = Stage()
    lines: list[Line] = [
        CLOCK,
        (Listen(RID, LONGEST_CALL, "a"), None),
        (Listen(RID, LONGEST_CALL, "b"), None),
        CLOCK,
        (Pipeline((a.ask(), b.ask()), LONGEST_CALL), ["one", "two"]),
        (Wait(RID, LONGEST_NAP), "a message"),
        CLOCK,
        (Pipeline, ["three", "four"]),
        *heard(a, b),
    ]
    stage.leave(following(a, b).follow(RID), lines)
    assert (a.taken, b.taken) == (["one", "three", "yes"], ["two", "four", "yes"])
    assert stage.now == 100 + LONGEST_NAP


def test_one_that_came_later_is_listened_to_from_then_on() -> None:
    a, b = Note("a"), Note("b")
    follower, stage = following(a), Stage()
    op = follower.follow(RID)
    wait = stage.upto(op, LISTENS)
    follower.add(b)
    assert follower.copies() == [a, b]
    request = stage.say(op, wait, (Wait, None))
    request = stage.say(op, request, CLOCK)
    request = stage.say(op, request, (Pipeline, ["yes", "yes"]))
    assert request == Listen(RID, LONGEST_CALL, "b")
    request = stage.say(op, request, (Listen, None))
    request = stage.say(op, request, CLOCK)
    assert isinstance(request, Pipeline), "it may have changed since it was added"


@pytest.mark.parametrize(
    ("span", "nap"), [(30.0, LONGEST_NAP), (3.0, 3.0 / ASKED), (1.0, 1.0 / ASKED)]
)
def test_it_asks_a_few_times_in_the_span_that_a_copy_may_be_gone_by(
    span: float, nap: float
) -> None:
    op = following(Note(max_staleness=span)).follow(RID)
    assert Stage().upto(op, LISTENS) == Wait(RID, nap)


def test_it_asks_as_often_as_the_copy_that_wants_it_most() -> None:
    op = following(Note("a"), Note("b", every=0.5)).follow(RID)
    lines: list[Line] = [CLOCK, (Listen, None), (Listen, None), CLOCK]
    lines.append((Pipeline, ["yes", "yes"]))
    assert Stage().upto(op, lines) == Wait(RID, 0.5)


def test_silence_is_asked_into_ever_more_slowly_until_the_copy_expires() -> None:
    note, stage = Note(max_staleness=30.0), Stage()
    op = following(note).follow(RID)
    request = stage.upto(op, [*LISTENS, (Wait, ""), CLOCK])
    naps: list[float] = []
    while not note.expired:
        request = stage.say(op, request, (Pipeline, SILENCE))
        assert isinstance(request, Wait)
        naps.append(request.timeout)
        request = stage.say(op, request, (Wait, None))
        request = stage.say(op, request, CLOCK)
    assert naps[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(naps) == LONGEST_PAUSE
    assert note.expired == ["no answer for 30 s (no answer)"]
    assert note.taken == ["yes"]
    assert 130 <= stage.now < 133, "at its deadline, or a question later"
    assert stage.say(op, request, (Pipeline, ["yes"])) == Wait(RID, LONGEST_NAP)


def test_it_wakes_when_a_copy_expires() -> None:
    note, stage = Note(), Stage()
    op = following(note).follow(RID)
    wait = stage.upto(op, LISTENS)
    note.deadline = 101.0
    request = stage.say(op, wait, (Wait, None))
    request = stage.say(op, request, CLOCK)
    note.deadline = stage.now + 0.01
    wait = stage.say(op, request, (Pipeline, SILENCE))
    assert isinstance(wait, Wait)
    assert wait.timeout == pytest.approx(0.01)


def test_a_silence_about_one_leaves_the_others_their_answers() -> None:
    a, b, c = Note("a"), Note("b"), Note("c")
    stage = Stage()
    error = KeyConflict("foreign")
    lines: list[Line] = [CLOCK, *([(Listen, None)] * 3), CLOCK]
    lines += [(Pipeline, ["yes", Unreachable("no node"), error])]
    request = stage.upto(following(a, b, c).follow(RID), lines)
    assert (a.taken, b.taken, c.taken) == (["yes"], [], [error])
    assert request == Wait(RID, FIRST_PAUSE)


def test_it_asks_without_messages_too() -> None:
    note, stage = Note(), Stage()
    lines: list[Line] = [CLOCK, (Listen, NotPermitted("no")), *LISTENS[2:]]
    stage.leave(following(note).follow(RID), [*lines, *heard(note)])
    assert note.taken == ["yes", "yes"]


def test_it_stops_when_it_is_told_to() -> None:
    note = Note()
    play(following(note).follow(RID), [*LISTENS, (Wait, None), (Rest, True)])
    assert note.taken == ["yes"]
    assert note.expired == []


def test_its_end_is_told() -> None:
    note = Note()
    following(note).abandon()
    (why,) = note.expired
    assert "session is closed" in why


def test_a_first_answer() -> None:
    note = Note()
    play(refresh(note), [("index_list", "yes")])
    assert note.taken == ["yes"]
    with pytest.raises(Unreachable):
        play(refresh(note), [("index_list", SILENCE)])


# -- what is tended ------------------------------------------------------------------------


class Task(Note):
    """A copy that has something to do whenever it was refreshed."""

    def __init__(self, channel: str = "t") -> None:
        super().__init__(channel)
        self.over = False
        self.fails: CoordError | None = None
        self.tended = 0

    def tend(self) -> Op[None]:
        yield Call("ring_loads", (), (), LONGEST_CALL)
        self.tended += 1
        if self.fails is not None:
            raise self.fails


TENDS: Line = ("ring_loads", [])


def test_what_is_tended_is_asked_about_first_and_then_tends() -> None:
    follower, note, task = following(), Note(), Task()
    assert follower.add(note)
    follower.attend(task)
    first: list[Line] = [CLOCK, (Listen, None), (Listen, None), CLOCK]
    play_on = [*first, (Pipeline, ["a", "b"]), TENDS]
    Stage().leave(follower.follow(RID), play_on)
    assert (note.taken, task.taken, task.tended) == (["a"], ["b"], 1)


def test_while_there_is_no_answer_nothing_is_tended() -> None:
    follower, task = following(), Task()
    follower.attend(task)
    lines: list[Line] = [CLOCK, (Listen, None), CLOCK, (Pipeline, SILENCE)]
    waits = Stage().upto(follower.follow(RID), lines)
    assert waits == Wait(RID, FIRST_PAUSE)
    assert task.tended == 0


def test_who_cannot_do_it_is_asked_again_soon_and_hinders_no_other() -> None:
    follower, broken, task = following(), Task(), Task("u")
    broken.fails = KeyConflict("foreign")
    follower.attend(broken)
    follower.attend(task)
    lines: list[Line] = [CLOCK, (Listen, None), (Listen, None), CLOCK]
    lines += [(Pipeline, ["a", "b"]), TENDS, TENDS]
    waits = Stage().upto(follower.follow(RID), lines)
    assert waits == Wait(RID, FIRST_PAUSE)
    assert task.tended == 1


def test_what_is_over_is_followed_no_longer() -> None:
    follower, note, task = following(), Note(), Task()
    assert follower.add(note)
    follower.attend(task)
    task.over = True
    assert follower.copies() == [note]
