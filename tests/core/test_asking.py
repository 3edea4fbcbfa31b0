"""A question whose answer was lost: when it is asked again, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.asking import (
    FIRST_PAUSE,
    SHORTEST_CALL,
    ask,
    insist,
    insist_all,
)
from coordkit._core.ops import Call, Pipeline, Rest
from coordkit.errors import NotPermitted, Refused, Unreachable
from core.props import no_answer, not_sent
from core.script import Line, Stage, Took, play

CALL = Call("lock_info", ("key",), (), 2.0)
TRIP = Pipeline((CALL, CALL), 2.0)
ANSWER: Line = ("lock_info", [b"free"])
LOST: Line = ("lock_info", Took(0.5, no_answer()))
SILENT: Line = ("lock_info", Took(2.0, no_answer()))


# -- ask ---------------------------------------------------------------------------


def test_a_connection_that_was_closed_is_no_answer_yet() -> None:
    stage = Stage()
    assert stage.play(ask(CALL), [LOST, ANSWER]).value == [b"free"]
    assert stage.asked == [CALL, CALL._replace(timeout=1.5)], "in the time of one"


def test_so_with_several_questions_in_one_trip() -> None:
    stage = Stage()
    stage.play(ask(TRIP), [(Pipeline, Took(0.5, no_answer())), (Pipeline, [])])
    assert stage.asked == [TRIP, TRIP._replace(timeout=1.5)]


@pytest.mark.parametrize(
    "lines",
    [[LOST, LOST], [SILENT], [("lock_info", not_sent())]],
    ids=["lost again", "its time is over", "nobody listens"],
)
def test_it_is_not_asked_for_ever(lines: list[Line]) -> None:
    with pytest.raises(Unreachable):
        play(ask(CALL), lines)


# -- insist ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [no_answer, not_sent])
def test_a_change_is_asked_for_until_there_is_an_answer(error: Any) -> None:
    stage = Stage()
    lines: list[Line] = [("lock_info", error()), (Rest, None)]
    stage.play(insist(CALL), [*lines, *lines, *lines, ANSWER])
    assert stage.now == pytest.approx(100 + (1 + 2 + 4) * FIRST_PAUSE)


def test_for_two_time_outs_unless_the_caller_has_less_patience() -> None:
    for patience, ends in [(None, 4.0), (1.0, 1.0)]:
        stage = Stage()
        with pytest.raises(Unreachable):
            stage.improvise(
                insist(CALL, patience),
                lambda r: not_sent() if isinstance(r, Call) else None,
            )
        assert stage.now == pytest.approx(100 + ends)


def test_the_last_question_is_short_but_long_enough_to_be_answered() -> None:
    stage = Stage()
    late: Line = ("lock_info", Took(1.95, no_answer()))
    rest: Line = (Rest, None)
    stage.play(insist(CALL), [late, rest, late, rest, ANSWER])
    last = stage.calls()[-1]
    assert last.timeout == SHORTEST_CALL


def test_a_no_is_an_answer() -> None:
    for asked in (ask(CALL), insist(CALL)):
        with pytest.raises(Refused):
            play(asked, [("lock_info", Refused("no"))])


def test_a_no_says_nothing_of_what_is_still_on_its_way() -> None:
    """Out of memory now; but what was asked before may be executed when there is some."""
    for lost, is_known in [(no_answer(), False), (not_sent(), True)]:
        lines: list[Line] = [("lock_info", lost), (Rest, None)]
        with pytest.raises(Refused if is_known else Unreachable) as told:
            play(insist(CALL), [*lines, ("lock_info", Refused("no memory"))])
        assert "no memory" in str(told.value)
        trips: list[Line] = [(Pipeline, [lost]), (Rest, None)]
        refused: Line = (Pipeline, [Refused("no memory")])
        (answer,) = play(insist_all([CALL]), [*trips, refused])
        assert isinstance(answer, Refused) is is_known
        assert isinstance(answer, Unreachable) is not is_known


def test_who_may_not_ask_did_not_ask_before_either() -> None:
    lines: list[Line] = [("lock_info", no_answer()), (Rest, None)]
    with pytest.raises(NotPermitted):
        play(insist(CALL), [*lines, ("lock_info", NotPermitted("no"))])


# -- several changes -----------------------------------------------------------------

OTHER = CALL._replace(keys=("other",))


def test_only_what_got_no_answer_is_asked_for_again() -> None:
    stage = Stage()
    lines: list[Line] = [
        (Pipeline, [no_answer(), Refused("no")]),
        (Rest, None),
        (Pipeline, no_answer()),
        (Rest, None),
        (Pipeline, [["done"]]),
    ]
    done, refused = stage.play(insist_all([CALL, OTHER]), lines)
    assert done == ["done"]
    assert isinstance(refused, Refused), "which is an answer"
    trips = [request for request in stage.asked if isinstance(request, Pipeline)]
    assert [trip.calls for trip in trips] == [(CALL, OTHER), (CALL,), (CALL,)]


def test_not_for_ever_and_then_it_says_of_which() -> None:
    stage = Stage()

    def answer(request: Any) -> Any:
        if not isinstance(request, Pipeline):
            return None
        return [not_sent(), ["done"]] if len(request.calls) == 2 else not_sent()

    silent, done = stage.improvise(insist_all([CALL, OTHER]), answer)
    assert isinstance(silent, Unreachable)
    assert done == ["done"]
    assert stage.now == pytest.approx(104.0), "two time-outs"


def test_the_last_trip_has_only_the_time_that_is_left() -> None:
    stage = Stage()
    late: Line = (Pipeline, Took(1.95, no_answer()))
    rest: Line = (Rest, None)
    stage.play(insist_all([CALL]), [late, rest, late, rest, (Pipeline, [["done"]])])
    last = stage.asked[-1]
    assert isinstance(last, Pipeline)
    assert last.timeout == SHORTEST_CALL
