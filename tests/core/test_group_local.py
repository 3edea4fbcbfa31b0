"""What a process knows of a group: fresh, in order, and never older than it may be."""

from __future__ import annotations

import random
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest

from coordkit._core.group_local import LEAST_OFTEN, LocalGroup
from coordkit._core.members import Watching, looked
from coordkit.errors import CoordError, KeyConflict, NotPermitted, StaleGroup
from core.props import CIRCLE
from core.test_members import changes, members, stored

ALL = ("", 0)


def a_group(max_staleness: float = 30.0) -> LocalGroup:
    return LocalGroup(CIRCLE, max_staleness, guard=nullcontext())


def two(version: int = 5) -> list[Any]:
    """The answer that lists a and b, nine seconds before they would die."""
    given = (("r1", stored("a", 7), 9000, 3000), ("r2", stored("b", 8), 9000, 3000))
    return members(*given, version=version)


def joined(version: int, rid: str, identity: str, token: int) -> tuple[int, Any]:
    fields = {"what": "joined", "rid": rid, "record": stored(identity, token)}
    return version, fields


def said(version: int, rid: str, identity: str, **more: Any) -> tuple[int, Any]:
    record = stored(identity, 7 if rid == "r1" else 8, **more)
    return version, {"what": "changed", "rid": rid, "record": record}


def took(group: LocalGroup, answer: Any, now: float) -> None:
    """Ask, and take in this answer; it took no time."""
    group.expire(now, "silence")
    group.ask()
    group.take(answer, now, now)


def asked(group: LocalGroup, now: float) -> tuple[Any, ...]:
    """What it wants to know: of which birth, since which version."""
    group.expire(now, "silence")
    return group.ask().args[:2]


def names(group: LocalGroup, now: float) -> list[str]:
    return [each.identity for each in group.known(now).members.values()]


# -- what is known --------------------------------------------------------------------


def test_all_are_asked_for_at_first_and_then_what_is_new() -> None:
    group = a_group()
    assert not group.asked
    assert asked(group, 100.0) == ALL
    took(group, two(), 100.0)
    assert group.asked
    assert names(group, 100.0) == ["a", "b"]
    assert asked(group, 100.5) == (1, 5)
    took(group, changes(joined(6, "r3", "c", 9)), 100.5)
    assert names(group, 100.5) == ["a", "b", "c"]
    assert asked(group, 100.6) == (1, 6)


def test_all_are_asked_for_from_time_to_time_to_see_who_is_silent() -> None:
    """Ten times in the ttl of nine seconds, however much else is new."""
    group = a_group()
    took(group, two(), 100.0)
    assert group.every == pytest.approx(0.9)
    now = 100.0
    for version in range(6, 12):
        now += 0.2
        whole = now - 100.0 >= 0.9
        assert (asked(group, now) == ALL) is whole
        if not whole:
            took(group, changes(said(version, "r1", "a", load=version)), now)
    late = members(("r1", stored("a", 7), 1000, 3000), version=11)
    took(group, late, now)
    assert group.known(now).members["r1"].suspicion > 1


@pytest.mark.parametrize(
    ("number", "left", "every"),
    [(2, 500, 0.1), (2, 9000, 0.9), (400, 9000, 2.0), (2000, 9000, 5.0), (0, 0, 5.0)],
)
def test_how_often(number: int, left: int, every: float) -> None:
    """Where there are many, all of them are a lot to read."""
    given = [(f"r{n}", stored(f"m{n}", n), left, 3000) for n in range(number)]
    group = a_group()
    assert group.every == LEAST_OFTEN
    took(group, members(*given), 100.0)
    assert group.every == pytest.approx(every)


def test_shape_counts_what_is_more_than_load() -> None:
    group = a_group()
    took(group, two(), 100.0)
    shapes = [group.known(100.0).shape]
    reports: list[dict[str, Any]] = [
        {"load": 0.5},
        {"load": 0.6, "meta": {"a": 1}},
        {"weight": 2.0},
    ]
    for version, more in enumerate(reports, 6):
        took(group, changes(said(version, "r1", "a", **more)), 100.1)
        shapes.append(group.known(100.1).shape)
    took(group, changes((9, {"what": "left", "rid": "r2"})), 100.2)
    shapes.append(group.known(100.2).shape)
    took(group, two(version=10), 101.0)
    shapes.append(group.known(101.0).shape)
    took(group, two(version=10), 102.0)
    shapes.append(group.known(102.0).shape)
    steps = [b - a for a, b in pairwise(shapes)]
    assert [bool(step) for step in steps] == [False, False, True, True, True, False]


def test_it_knows_what_a_watcher_is_told() -> None:
    """Whatever happens, in whatever order it asks for all or for what is new."""
    dice = random.Random(4)
    group, watching = a_group(), Watching("jobs")
    there: dict[str, str] = {}
    now, version = 100.0, 0
    for step in range(300):
        news: list[tuple[int, Any]] = []
        for _ in range(dice.randint(0, 3)):
            version += 1
            if there and dice.random() < 0.5:
                rid = dice.choice([*there])
                del there[rid]
                news.append((version, {"what": "died", "rid": rid}))
            else:
                rid = f"r{step}.{version}"
                there[rid] = stored(rid, version)
                news.append(joined(version, rid, rid, version))
        now += dice.random()
        entries = [(rid, record, 9000, 3000) for rid, record in there.items()]
        whole = members(*entries, version=version)
        whole[2] = str(version).encode()
        part = changes(*news)
        part[2] = str(version).encode()
        list(watching.news(looked("jobs", whole)))
        took(group, whole if asked(group, now) == ALL else part, now)
        assert dict(group.known(now).members) == watching._members
        assert [*group.known(now).members] == [*watching._members]


def test_answers_that_overtake_each_other() -> None:
    group = a_group()
    took(group, two(), 100.0)
    group.take(changes(joined(6, "r3", "c", 9)), 101.0, 101.2)
    group.take(two(), 100.5, 101.3)  # asked before, heard after
    assert names(group, 102.0) == ["a", "b", "c"]
    # Asked at the same version, and heard one after the other.
    group.take(changes(joined(6, "r3", "c", 9)), 101.5, 101.6)
    assert names(group, 102.0) == ["a", "b", "c"]
    assert asked(group, 102.0) == ALL, "rather than to guess"


def test_a_group_that_was_born_anew() -> None:
    group = a_group()
    took(group, two(), 100.0)
    took(group, changes(joined(6, "r3", "c", 9), birth=2), 100.1)
    assert names(group, 100.1) == ["a", "b"]
    assert asked(group, 100.1) == ALL
    took(group, members(("r3", stored("c", 9), 9000, 3000), birth=2), 100.2)
    assert names(group, 100.2) == ["c"]
    assert asked(group, 100.3) == (2, 5)


# -- how old it may be --------------------------------------------------------------------


def test_what_is_too_old_is_not_told() -> None:
    group = a_group()
    with pytest.raises(StaleGroup, match="'jobs' is not known well enough: it has not"):
        group.known(100.0)
    group.take(two(), 100.0, 100.5)
    assert group.deadline == 130.0, "counted from before the question"
    assert names(group, 129.9) == ["a", "b"]
    with pytest.raises(StaleGroup, match="no answer for 30 s"):
        group.known(130.0)
    group.expire(130.0, "no answer for 30 s (connection refused)")
    with pytest.raises(StaleGroup, match="connection refused") as stale:
        group.known(130.0)
    assert stale.value.name == "jobs"
    took(group, two(), 131.0)
    assert names(group, 131.0) == ["a", "b"]
    group.expire(float("inf"), "its session is closed")
    with pytest.raises(StaleGroup, match="its session is closed"):
        group.known(131.0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NotPermitted("no"), NotPermitted),
        (KeyConflict("another kind"), KeyConflict),
        ([b"members", b"x", b"5", 1, -1, [], []], KeyConflict),
        (members(("r1", "not ours", 9000, 3000)), KeyConflict),
        (changes((6, {"what": "left", "rid": "r9"})), KeyConflict),
    ],
)
def test_an_error_is_told_when_what_is_known_is_too_old(
    answer: Any, error: type[CoordError]
) -> None:
    group = a_group()
    took(group, two(), 100.0)
    took(group, answer, 100.1)
    assert group.asked
    assert asked(group, 100.2) == ALL, "not what is new since what could not be read"
    assert names(group, 129.9) == ["a", "b"]
    for _ in range(2):
        with pytest.raises(error):
            group.known(130.0)
    took(group, two(), 130.0)
    assert names(group, 130.0) == ["a", "b"]
    took(group, changes(joined(6, "r3", "c", 9)), 130.1)
    assert names(group, 130.1) == ["a", "b", "c"]
    with pytest.raises(StaleGroup):
        group.known(160.1)


def test_an_error_is_told_at_once_when_nothing_is_known() -> None:
    group = a_group()
    took(group, NotPermitted("no"), 100.0)
    assert group.asked
    with pytest.raises(NotPermitted):
        group.known(100.0)
    took(group, two(), 100.1)
    assert names(group, 100.1) == ["a", "b"]


def test_after_a_fork_nothing_is_known() -> None:
    group = a_group()
    took(group, two(), 100.0)
    before = group.known(100.0).shape
    group.forget(nullcontext())
    assert not group.asked
    with pytest.raises(StaleGroup):
        group.known(100.0)
    took(group, two(), 100.0)
    assert group.known(100.0).shape > before
