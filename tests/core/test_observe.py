"""What is observed is asked for again and again, and silence is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coordkit._core.asking import FIRST_PAUSE, LONGEST_PAUSE
from coordkit._core.observe import EVERY, Resumed, Subject, Suspended, observe
from coordkit._core.ops import Call, Listen, Op, Tell, Wait
from coordkit._core.span import LONGEST_CALL
from coordkit.errors import KeyConflict, NotPermitted
from core.props import no_answer, not_sent
from core.script import Line, Stage, Took

RID = "0123456789abcdef"
LISTEN = Listen(RID, LONGEST_CALL, "news")
ASK = "index_list"


class Seen:
    """Tells a number when it is another than before, and asks with the one it knows."""

    def __init__(self) -> None:
        self.last = 0

    def ask(self) -> Call:
        return Call(ASK, (), (self.last,), 2.0)

    def read(self, value: int) -> Iterator[int]:
        while self.last < value:
            self.last += 1
            yield self.last


def observing() -> Op[None]:
    seen = Seen()
    return observe(Subject("news", seen.ask, seen.read), RID)


def told(stage: Stage, lines: list[Line]) -> list[Any]:
    """Play these lines; return what was told, and leave."""
    stage.leave(observing(), lines)
    return [request.value for request in stage.asked if isinstance(request, Tell)]


def test_what_is_true_comes_first_and_then_every_change() -> None:
    stage = Stage()
    lines: list[Line] = [
        (LISTEN, None),
        (ASK, 1),
        (Tell(1), None),
        (Wait(RID, EVERY), "whatever"),
        (ASK, 3),
        (Tell(2), None),
        (Tell(3), None),
        (Wait(RID, EVERY), None),
    ]
    assert told(stage, lines) == [1, 2, 3]
    assert [call.args for call in stage.calls()] == [(0,), (1,)]


def test_it_asks_again_without_a_message_and_tells_nothing_twice() -> None:
    stage = Stage()
    lines: list[Line] = [(Listen, None), (ASK, 1), (Tell, None)]
    lines += [(Wait, None), (ASK, 1)] * 3
    assert told(stage, lines) == [1]
    assert stage.now == 100 + 3 * EVERY


def test_silence_is_told_once_and_its_end() -> None:
    stage = Stage()
    lines: list[Line] = [
        (Listen, None),
        (ASK, 1),
        (Tell(1), None),
        (Wait, None),
        (ASK, Took(2.0, no_answer())),
        (Tell(Suspended("no answer")), None),
        (Wait(RID, FIRST_PAUSE), None),
        (ASK, not_sent()),
        (Wait(RID, 2 * FIRST_PAUSE), Took(3.0)),
        (ASK, 2),
        (Tell, None),
        (Tell(2), None),
        (Wait(RID, EVERY), None),
    ]
    *_, resumed, last = told(stage, lines)
    assert isinstance(resumed, Resumed)
    assert resumed.silent == pytest.approx(3.0 + FIRST_PAUSE)
    assert last == 2


def test_a_server_that_is_silent_from_the_start_is_told_too() -> None:
    lines: list[Line] = [(Listen, not_sent()), (ASK, not_sent())]
    assert told(Stage(), [*lines, (Tell, None)]) == [Suspended("nobody listens")]


def test_pauses_grow_up_to_a_limit_and_begin_anew() -> None:
    stage = Stage()
    silent: Line = (ASK, Took(2.0, no_answer()))
    lines: list[Line] = [(Listen, None), silent, (Tell, None)]
    lines += [(Wait, None), silent] * 8
    lines += [(Wait, None), (ASK, 0), (Tell, None), (Wait, ""), silent, (Tell, None)]
    stage.leave(observing(), lines)
    waits = [r.timeout for r in stage.asked if isinstance(r, Wait)]
    doubled = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(9)]
    assert waits == [*doubled, EVERY]
    assert stage.upto(observing(), lines) == Wait(RID, FIRST_PAUSE)


@pytest.mark.parametrize("error", [KeyConflict("foreign"), NotPermitted("no")])
def test_what_asking_again_cannot_mend_ends_it(error: Exception) -> None:
    scenes: list[list[Line]] = [[(Listen, None), (ASK, error)], [(Listen, error)]]
    for lines in scenes:
        with pytest.raises(type(error)):
            Stage().play(observing(), lines)
