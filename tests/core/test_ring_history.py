"""What was changed: in the log, between two versions, and as it happens."""

from __future__ import annotations

import json
from itertools import combinations_with_replacement
from typing import Any

import pytest

from coordkit._core import ring_write
from coordkit._core.ring_change import Draft, Move
from coordkit._core.ring_history import Watching, diff
from coordkit._core.ring_read import RingInfo
from coordkit._core.ring_snapshot import Snapshot
from coordkit._core.ring_write import (
    RingChange,
    change_of,
    is_owned,
    moves_of,
    moves_text,
)
from coordkit.errors import DamagedRing, EmptyRing
from core import rings
from core.rings import RING, SLOTS, a_ring, bare, made_up
from core.script import play


def a_history(*steps: dict[str, Any]) -> list[Draft]:
    """Make one change after another, of a ring without nodes at first."""
    at, made = bare(), list[Draft]()
    for step in steps:
        made.append(made_up(at, **step))
        at = made[-1].new
    return made


HISTORY = a_history(
    {"add": {"a": 1.0, "b": 1.0}},
    {"add": {"c": 1.0}},
    {"remove": ["a"]},
    {"add": {"a": 1.0}},
    {"reweight": {"b": 3.0}},
)
NOW = HISTORY[-1].new
LOG = [rings.entry(made) for made in HISTORY]


def versions(history: list[Draft] = HISTORY) -> list[Snapshot]:
    return [bare(), *(made.new for made in history)]


def log(entries: list[Any], now: Snapshot = NOW) -> list[Any]:
    return [b"log", rings.meta(now), entries]


# -- the log --------------------------------------------------------------------------------


def test_an_entry_tells_the_change() -> None:
    change = change_of(LOG[2])
    moved = len(HISTORY[2].moved)
    assert change == RingChange(3, rings.AT / 1000, "me", (), ("a",), (), moved)
    assert change_of(LOG[0]).moved == 0, "nobody had these slots"
    assert change_of(LOG[4]).reweighted == ("b",)


def test_an_entry_keeps_the_moves() -> None:
    assert not is_owned(LOG[0]), "nobody had them before"
    for made, entry in zip(HISTORY[1:], LOG[1:], strict=True):
        assert is_owned(entry)
        found = moves_of(entry)
        assert found is not None
        assert sorted(found) == made.moves


def test_moves_are_written_so_that_others_can_read_them() -> None:
    moves = [Move(3, 3, "a", "c"), Move(5, 8, "a", "c"), Move(9, 9, "b", "ü")]
    assert moves_text(moves) == '[["a","c",[3,[5,8]]],["b","ü",[9]]]'
    assert moves_text([]) == "[]"


def test_moves_that_are_too_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_write, "LARGEST_MOVES", 100)
    entry = rings.entry(HISTORY[1])
    assert moves_of(entry) is None
    assert change_of(entry).moved == len(HISTORY[1].moved)
    with pytest.raises(ValueError, match="version 2 of the ring 'jobs' moved more"):
        play(diff(RING, 1, 2), [("ring_log", log([entry]))])


# -- between two versions ---------------------------------------------------------------------


#: A ring that loses all its nodes on the way.
EMPTIED = a_history(
    {"add": {"a": 1.0}},
    {"add": {"b": 1.0}},
    {"remove": ["a", "b"]},
    {"add": {"b": 1.0, "c": 3.0}},
    {"reweight": {"c": 1.0}},
)


@pytest.mark.parametrize("history", [HISTORY, EMPTIED], ids=["filled", "emptied"])
@pytest.mark.parametrize(
    ("since", "until"), [*combinations_with_replacement(range(6), 2)]
)
def test_the_difference_is_what_the_snapshots_differ_in(
    history: list[Draft], since: int, until: int
) -> None:
    entries = [rings.entry(made) for made in history[since:]]
    found = play(
        diff(RING, since, until), [("ring_log", log(entries, history[-1].new))]
    )
    tables = [each.table() for each in versions(history)[since : until + 1]]
    before, now = tables[0], tables[-1]
    expected = [s for s in range(SLOTS) if all(tables) and before[s] != now[s]]
    assert [s for m in found.moves for s in range(m.first, m.last + 1)] == expected
    assert found.moved == len(expected) / SLOTS
    assert all(before[m.first] == m.source for m in found.moves)
    assert all(now[m.last] == m.target for m in found.moves)
    assert [c.version for c in found.changes] == list(range(since + 1, until + 1))
    assert (found.since, found.until) == (since, until)


def test_its_repr_can_be_read() -> None:
    found = play(diff(RING, 2, 4), [("ring_log", log(LOG[2:]))])
    assert "moved=" in repr(found)
    assert "Move(" not in repr(found)


def test_without_an_end_it_goes_up_to_now() -> None:
    found = play(diff(RING, 3, None), [("ring_log", log(LOG[3:]))])
    assert found.until == 5


def test_what_came_back_has_not_moved() -> None:
    found = play(diff(RING, 2, 4), [("ring_log", log(LOG[2:]))])
    before, now = versions()[2].table(), versions()[4].table()
    assert found.moved == sum(a != b for a, b in zip(before, now, strict=True)) / SLOTS
    assert found.moved < sum(c.moved for c in found.changes) / SLOTS


@pytest.mark.parametrize(("since", "until"), [(2, 1), (-1, 3), (3, 9), (9, 9)])
def test_versions_that_are_not(since: int, until: int) -> None:
    with pytest.raises(ValueError, match="it is at 5, and time runs forward"):
        play(diff(RING, since, until), [("ring_log", log(LOG[since:]))])


def test_a_log_that_does_not_reach_back() -> None:
    with pytest.raises(ValueError, match="which reaches back to 3"):
        play(diff(RING, 1, 5), [("ring_log", log(LOG[3:]))])
    with pytest.raises(ValueError, match="which reaches back to 5"):
        play(diff(RING, 1, 5), [("ring_log", log([]))])


def test_a_ring_that_is_not_there() -> None:
    with pytest.raises(EmptyRing):
        play(diff(RING, 0, None), [("ring_log", rings.NONE)])


@pytest.mark.parametrize(
    "fields", [[b"x", b"y"], [b"change", b"[]"], [b"change", b"{", b"at", b"1"]]
)
def test_a_log_of_somebody_else(fields: list[bytes]) -> None:
    with pytest.raises(DamagedRing, match="its log holds what is no change"):
        play(diff(RING, 4, 5), [("ring_log", log([[b"5-0", fields]]))])


# -- as it happens ----------------------------------------------------------------------------


def watching(*answers: Any) -> list[list[Any]]:
    """What is told after each answer, and what was asked before it."""
    subject = Watching(RING).subject()
    told: list[list[Any]] = []
    for answer in answers:
        asked = subject.ask().args
        told.append([*asked, *subject.read(answer)])
    return told


def info(ring: Snapshot) -> RingInfo:
    return RingInfo("jobs", ring.version, SLOTS, "balanced", 1, len(ring.nodes))


def test_what_it_is_comes_first_and_then_every_change() -> None:
    at_three, changes = versions()[3], [change_of(entry) for entry in LOG]
    assert watching(log(LOG[:3], at_three), log([], at_three), log(LOG[3:])) == [
        [0, info(at_three)],
        [3],
        [3, *changes[3:]],
    ]


def test_after_a_gap_what_it_is_comes_again() -> None:
    assert watching(log(LOG[:1], versions()[1]), log(LOG[3:])) == [
        [0, info(versions()[1])],
        [1, info(NOW)],
    ]


def test_a_ring_that_goes_and_comes() -> None:
    gone, born = RingInfo("jobs", 0), a_ring(2)
    told = watching(
        rings.NONE, rings.NONE, log(LOG[:1], born), rings.NONE, log(LOG[:1], born)
    )
    assert told == [[0, gone], [0], [0, info(born)], [1, gone], [0, info(born)]]


def test_a_ring_made_anew_at_the_same_version_is_told() -> None:
    meta = rings.meta(NOW)
    reborn = [b"c" * 32 if field == rings.BIRTH.encode() else field for field in meta]
    assert watching(log(LOG), [b"log", reborn, []]) == [[0, info(NOW)], [5, info(NOW)]]


def test_a_version_that_went_back_is_told() -> None:
    assert watching(log(LOG), log([], versions()[3])) == [
        [0, info(NOW)],
        [5, info(versions()[3])],
    ]


def test_the_log_is_json() -> None:
    assert json.loads(dict(zip(*[iter(LOG[1][1])] * 2, strict=True))[b"change"]) == {
        "add": ["c"]
    }
