"""What looks at an election show: each change once, in order, and what was missed."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.terms import (
    Candidate,
    Elected,
    Leader,
    Missed,
    Paused,
    Telling,
    Unpaused,
    Vacant,
    info_of,
    seen,
)
from coordkit.errors import KeyConflict
from core.props import RID, entry, led_by, look

NOW = 1_700_000_100.0


def at(number: int) -> float:
    return 1_700_000_000.0 + number


def told(*looks: list[Any]) -> list[list[Any]]:
    """What is told after each look."""
    telling = Telling()
    return [list(telling.news(seen("jobs", answer))) for answer in looks]


def leader(identity: str, term: int, number: int) -> Leader:
    """One who led, as the history has it."""
    return Leader(identity, term, at(number), {}, 0)


ELECTED_A = entry(1, "elected", 7, "a")
ELECTED_B = entry(3, "elected", 9, "b", priority="5", meta='{"x":1}')
RESIGNED_A = entry(2, "resigned", 7, "a", why="tired")
A_RESIGNED = Vacant("a", 7, at(2), "resigned", "tired")
B_LEADS = Leader("b", 9, 1_700_000_000.5, {"a": 1}, 5, RID, 10.0)
B_LED = Leader("b", 9, at(3), {"x": 1}, 5)


# -- what is true comes first ----------------------------------------------------------


def test_nobody_has_ever_led() -> None:
    assert told(look()) == [[Vacant("", 0, NOW, "")]]


def test_who_leads_is_told_first_and_nothing_that_was_before() -> None:
    answer = look(
        "led", ELECTED_A, RESIGNED_A, ELECTED_B, leader=("b", 9), ends_ms=10_000
    )
    assert told(answer) == [[Elected(B_LEADS)]]


def test_who_led_last_is_told_when_nobody_leads() -> None:
    assert told(look("vacant", ELECTED_A, RESIGNED_A)) == [[A_RESIGNED]]
    assert told(look("vacant", ELECTED_A)) == [[Vacant("a", 7, NOW, "lost")]]


def test_a_pause_is_told_at_first() -> None:
    paused = Paused("op", NOW, "upgrade")
    assert told(look("paused", paused=("upgrade", "op"))) == [
        [Vacant("", 0, NOW, ""), paused]
    ]
    still = look("led", leader=("b", 9), ends_ms=10_000, paused=("upgrade", "op"))
    assert told(still) == [[Elected(B_LEADS), paused]]


# -- and then every change -------------------------------------------------------------


def test_every_change_is_told_once_and_in_order() -> None:
    again = look("led", leader=("b", 9), ends_ms=10_000)
    first, second, third = told(
        look("vacant"),
        look("led", ELECTED_A, RESIGNED_A, ELECTED_B, leader=("b", 9), ends_ms=10_000),
        again,
    )
    assert first == [Vacant("", 0, NOW, "")]
    assert second == [Elected(leader("a", 7, 1)), A_RESIGNED, Elected(B_LEADS)]
    assert third == []


def test_who_is_elected_without_a_resignation_before_shows_a_loss() -> None:
    _, news = told(
        look("led", ELECTED_A, leader=("a", 7), ends_ms=1),
        look("led", ELECTED_B, leader=("b", 9), ends_ms=10_000),
    )
    assert news == [Vacant("a", 7, at(3), "lost"), Elected(B_LEADS)]


def test_a_loss_is_told_when_it_is_seen_and_not_again() -> None:
    lost = Vacant("a", 7, NOW, "lost")
    _, first, second, third = told(
        look("led", ELECTED_A, leader=("a", 7), ends_ms=1),
        look("vacant"),
        look("vacant", entry(2, "resigned", 7, "a")),  # it came to resign too late
        look("vacant", ELECTED_B),
    )
    assert first == [lost]
    assert second == []
    assert third == [Elected(B_LED), Vacant("b", 9, NOW, "lost")]


def test_a_leader_of_whom_no_entry_tells_is_told_all_the_same() -> None:
    """As when the history was evicted, or is overwritten by something else."""
    _, news = told(
        look("led", leader=("a", 7), ends_ms=10),
        look("led", leader=("b", 9), ends_ms=10_000),
    )
    assert news == [Vacant("a", 7, 1_700_000_000.5, "lost"), Elected(B_LEADS)]


def test_pauses_are_told_by_whom_and_why() -> None:
    paused = entry(2, "paused", 0, "op", why="upgrade")
    resumed = entry(3, "resumed", 0, "op 2")
    _, first, second, third = told(
        look("led", ELECTED_A, leader=("a", 7), ends_ms=10),
        look("paused", paused, RESIGNED_A, paused=("upgrade", "op")),
        look("paused", paused=("upgrade", "op")),
        look("vacant", resumed),
    )
    assert first == [Paused("op", at(2), "upgrade"), A_RESIGNED]
    assert second == []
    assert third == [Unpaused("op 2", at(3))]


def test_a_pause_that_ends_by_itself_is_told() -> None:
    _, news = told(look("paused", paused=("", "op")), look("vacant"))
    assert news == [Unpaused("", NOW)]


def test_a_pause_that_no_entry_tells_of_is_told_all_the_same() -> None:
    _, news = told(look(), look("paused", paused=("", "op")))
    assert news == [Paused("op", NOW, "")]


def test_what_is_of_a_later_version_is_passed_over() -> None:
    answer = look("vacant", entry(2, "crowned", 7, "a"))
    assert told(look(), answer) == [[Vacant("", 0, NOW, "")], []]


# -- what was missed -------------------------------------------------------------------


def test_the_next_look_asks_for_what_came_since() -> None:
    telling = Telling()
    asked = [telling.since]
    for answer in (look(), look("vacant", ELECTED_A, RESIGNED_A), look("vacant")):
        list(telling.news(seen("jobs", answer)))
        asked.append(telling.since)
    assert asked == ["-", "-", "2-0", "2-0"]


def test_a_gap_is_told_and_then_what_is_known() -> None:
    later = entry(200, "elected", 99, "c"), entry(201, "resigned", 99, "c")
    telling = Telling()
    list(telling.news(seen("jobs", look("led", ELECTED_A, leader=("a", 7), ends_ms=1))))
    answer = look("vacant", ELECTED_A, *later, known=0)
    assert list(telling.news(seen("jobs", answer))) == [
        Missed(7),
        Vacant("a", 7, at(200), "lost"),
        Elected(leader("c", 99, 200)),
        Vacant("c", 99, at(201), "resigned"),
    ]
    assert telling.since == "201-0"


def test_after_a_loss_of_data_all_is_asked_for_anew() -> None:
    telling = Telling()
    list(telling.news(seen("jobs", look("led", ELECTED_A, leader=("a", 7), ends_ms=1))))
    lost = list(telling.news(seen("jobs", look("vacant", known=0))))
    assert lost == [Missed(7), Vacant("a", 7, NOW, "lost")]
    assert telling.since == "-"


def test_when_something_changes_that_nobody_publishes() -> None:
    telling = Telling()
    lefts: list[float] = []
    for answer in (
        look("led", leader=("a", 7), ends_ms=1500),
        look("paused", paused=("", "op"), ends_ms=-1),
        look(),
    ):
        list(telling.news(seen("jobs", answer)))
        lefts.append(telling.left)
    assert lefts[0] == 1.5
    assert all(left < 0 for left in lefts[1:])


# -- what is remembered ----------------------------------------------------------------


def past(answer: list[Any]) -> list[Any]:
    return Telling().past(seen("jobs", answer))


def test_the_history_tells_all_there_is() -> None:
    answer = look(
        "led", ELECTED_A, RESIGNED_A, ELECTED_B, leader=("b", 9), ends_ms=10_000
    )
    assert past(answer) == [Elected(leader("a", 7, 1)), A_RESIGNED, Elected(B_LED)]


def test_a_history_that_was_cut_begins_in_the_middle() -> None:
    assert past(look("vacant", RESIGNED_A)) == [A_RESIGNED]


def test_the_history_shows_who_lost_it() -> None:
    answer = look("vacant", ELECTED_A, ELECTED_B)
    assert past(answer) == [
        Elected(leader("a", 7, 1)),
        Vacant("a", 7, at(3), "lost"),
        Elected(B_LED),
        Vacant("b", 9, NOW, "lost"),
    ]


# -- what is read ----------------------------------------------------------------------


def test_candidates_come_in_line() -> None:
    records = [("r1", 'p10\nx\n{"a":1}'), ("r2", "p-3\ny\n{}"), ("r3", "")]
    info = info_of("jobs", seen("jobs", look(candidates=records)))
    assert info.candidates == (
        Candidate("x", 10, {"a": 1}, "r1"),
        Candidate("y", -3, {}, "r2"),
    )
    assert (info.name, info.state, info.leader) == ("jobs", "vacant", None)
    assert (info.paused_by, info.reason) == ("", "")


def test_a_leader_has_a_name_a_term_and_an_end() -> None:
    info = info_of("jobs", seen("jobs", led_by("b", 9)))
    assert info.state == "led"
    assert info.leader == B_LEADS


def test_metadata_that_is_not_ours_means_nothing() -> None:
    answer = led_by("b", 9)
    for stored in (b"{", b"[1]", b"", b"[" * 5000):
        answer[10] = stored
        found = seen("jobs", answer).leader
        assert found is not None
        assert found.meta == {}


@pytest.mark.parametrize(
    "answer",
    [
        look("vacant", [b"1-0", [b"what", b"elected"]]),
        look("vacant", [b"1-0", [b"what"]]),
        look("vacant", entry(1, "elected", 7, "a", at="soon")),
        look(candidates=[("r1", "no record")]),
        [*look("led", leader=("a", 7))[:7], b"many", *look("led", leader=("a", 7))[8:]],
    ],
)
def test_what_is_not_ours_is_a_conflict(answer: list[Any]) -> None:
    with pytest.raises(KeyConflict, match="of the election 'jobs' is not ours"):
        seen("jobs", answer)
