"""The members of a group: what is stored, and how each change is told."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coordkit._core.members import (
    Changed,
    Died,
    Joined,
    Left,
    MemberInfo,
    Members,
    Record,
    Watching,
    a_record,
    changed,
    looked,
    suspicion,
)
from coordkit.errors import KeyConflict

NOW = 1_700_000_100_000
A_NUMBER: Any = 1


def stored(identity: str, token: int = 7, load: float = 0.0, **more: Any) -> str:
    """What is stored of a member whose ttl is nine seconds."""
    record = a_record(identity, load=load, **more)
    return f"{token}\n1700000000500\n9000\n3\n{record.stored()}"


def info(identity: str, rid: str, token: int = 7, **more: Any) -> MemberInfo:
    """The same, as it is told."""
    return MemberInfo(identity, rid, token, 1_700_000_000.5, expires_in=9.0, **more)


def members(
    *entries: tuple[str, str, int, int],
    birth: int = 1,
    version: int = 5,
    next_ms: int = -1,
) -> list[Any]:
    """An answer that lists all: rid, what is stored, ms left, pace."""
    fields = [b"birth", b"1", b"version", b"5", b"id:a", b"r1"]
    deadlines: list[bytes] = []
    for rid, record, left, pace in entries:
        fields += [rid.encode(), record.encode()]
        fields += [f"pace:{rid}".encode(), str(pace).encode()]
        deadlines += [rid.encode(), str(NOW + left).encode()]
    numbers = (str(birth).encode(), str(version).encode(), NOW, next_ms)
    return [b"members", *numbers, fields, deadlines]


def changes(
    *entries: tuple[int, dict[str, Any]], birth: int = 1, next_ms: int = -1
) -> list[Any]:
    """An answer that tells what has changed."""
    log = [
        [
            f"{version}-0".encode(),
            [str(text).encode() for pair in fields.items() for text in pair],
        ]
        for version, fields in entries
    ]
    version = entries[-1][0] if entries else 5
    return [
        *(b"changes", str(birth).encode(), str(version).encode(), NOW, next_ms),
        log,
    ]


def told(*answers: list[Any]) -> list[list[Any]]:
    """What is told after each answer."""
    watching = Watching("jobs")
    return [list(watching.news(looked("jobs", answer))) for answer in answers]


# -- suspicion -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silence", "pace", "phi"),
    [(0, 3000, 0.0), (3000, 3000, 1 / math.log(10)), (-5, 3000, 0.0), (9000, 0, 0.0)],
)
def test_suspicion(silence: float, pace: float, phi: float) -> None:
    assert suspicion(silence, pace) == pytest.approx(phi)


def test_suspicion_is_the_logarithm_of_a_tail_probability() -> None:
    """Of intervals that are distributed exponentially: 1 − P(t) = e^(−λt)."""
    for silence in (1.0, 10.0, 100.0):
        tail = math.exp(-silence / 4.0)
        assert suspicion(silence, 4.0) == pytest.approx(-math.log10(tail))


# -- who there is ----------------------------------------------------------------------


def test_members_come_in_the_order_in_which_they_joined() -> None:
    [[all_of_them]] = told(
        members(
            ("r2", stored("b", 9), 9000, 3000),
            (
                "r1",
                stored("a", 7, 0.5, zone="z", capacity=10, meta={"x": 1}),
                6000,
                1500,
            ),
        )
    )
    assert isinstance(all_of_them, Members)
    assert (all_of_them.name, all_of_them.birth, all_of_them.version) == ("jobs", 1, 5)
    a, b = all_of_them
    assert (a.identity, a.holder, a.token, a.since) == ("a", "r1", 7, 1_700_000_000.5)
    assert (a.weight, a.capacity, a.load, a.zone) == (1.0, 10.0, 0.5, "z")
    assert (a.state, a.draining, a.meta) == ("active", False, {"x": 1})
    assert (a.expires_in, b.expires_in) == (6.0, 9.0)
    assert a.suspicion == pytest.approx(suspicion(3000, 1500))
    assert b.suspicion == 0.0


def test_one_of_whom_nothing_is_stored_is_none() -> None:
    """Evicted: it hears so from its next heartbeat, and joins again."""
    answer = [b"members", b"1", b"5", NOW, -1, [], [b"r1", b"1"]]
    assert told(answer) == [[Members("jobs", 1, 5, ())]]


def test_members_are_a_sequence() -> None:
    a, b = info("a", "r1"), info("b", "r2")
    both = Members("jobs", 1, 5, (a, b))
    assert list(both) == [a, b]
    assert len(both) == 2
    assert both[1] is b
    assert both[:1] == (a,)
    assert a in both
    assert both.get("b") is b
    assert both.get("c") is None
    assert not Members("jobs", 0, 0, ())


# -- and every change ------------------------------------------------------------------


def test_every_change_is_told_with_its_version() -> None:
    first, news = told(
        members(),
        changes(
            (6, {"what": "joined", "rid": "r1", "record": stored("a")}),
            (7, {"what": "joined", "rid": "r2", "record": stored("b", 8)}),
            (8, {"what": "changed", "rid": "r1", "record": stored("a", 7, 0.5)}),
            (9, {"what": "left", "rid": "r1", "record": ""}),
            (10, {"what": "died", "rid": "r2", "record": "", "together": 1, "of": 1}),
        ),
    )
    assert first == [Members("jobs", 1, 5, ())]
    a, busy, b = info("a", "r1"), info("a", "r1", load=0.5), info("b", "r2", 8)
    assert news == [
        *(Joined(a, 6), Joined(b, 7), Changed(busy, 8, a), Left(busy, 9)),
        Died(b, 10),
    ]


@pytest.mark.parametrize(
    ("together", "of", "mass"),
    [(1, 1, False), (1, 2, False), (2, 4, False), (3, 4, True), (500, 999, True)],
)
def test_that_most_died_at_once_is_told(together: int, of: int, mass: bool) -> None:
    died = Died(info("a", "r1"), 6, together, of)
    assert died.mass is mass
    entry = {"what": "died", "rid": "r1", "record": "", "together": together, "of": of}
    _, news = told(members(("r1", stored("a"), 9000, 3000)), changes((6, entry)))
    assert news == [died]


def test_when_changes_are_not_known_all_members_come_again() -> None:
    first, second, third = told(
        members(("r1", stored("a"), 9000, 3000)),
        members(("r2", stored("b"), 9000, 3000), birth=2, version=1),
        changes((2, {"what": "left", "rid": "r2", "record": ""}), birth=2),
    )
    assert [type(each) for each in first + second] == [Members, Members]
    assert third == [Left(info("b", "r2"), 2)]


def test_that_nobody_is_there_still_is_no_news() -> None:
    assert told(members(), members(birth=0, version=0), members(birth=9)) == [
        *([Members("jobs", 1, 5, ())], [], []),
    ]


def test_what_is_asked_and_when() -> None:
    watching = Watching("jobs")
    assert (watching.birth, watching.left) == (None, math.inf)
    list(watching.news(looked("jobs", members(next_ms=1500))))
    assert (watching.birth, watching.version, watching.left) == (1, 5, 1.5)
    list(watching.news(looked("jobs", changes(birth=1))))
    assert (watching.birth, watching.version, watching.left) == (1, 5, math.inf)


@pytest.mark.parametrize(
    "answer",
    [
        members(("r1", "no record", 9000, 3000)),
        members(("r1", stored("a").replace("7\n", "x\n", 1), 9000, 3000)),
        [b"members", b"one", b"5", NOW, -1, [], []],
        changes((6, {"what": "joined", "rid": "r1", "record": "no record"})),
        changes((6, {"what": "died", "rid": "nobody", "record": ""})),
        changes((6, {"rid": "r1"})),
    ],
)
def test_what_is_not_ours_is_a_conflict(answer: list[Any]) -> None:
    with pytest.raises(KeyConflict, match="of the group 'jobs' is not ours"):
        told(answer)


# -- what a member says ----------------------------------------------------------------


def test_a_record() -> None:
    record = a_record("me", {"a": 1}, 2, 10, 0.5, "north")
    assert record.stored() == 'me\nnorth\n2.0\n10.0\nactive\n0.5\n{"a":1}'
    assert a_record("me").stored() == "me\n\n1.0\n\nactive\n0.0\n{}"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"identity": ""}, ValueError, "identity '' is 0 bytes long"),
        ({"identity": "a\nb"}, ValueError, "identity .* contains"),
        ({"identity": A_NUMBER}, TypeError, "a identity is a str|an identity"),
        ({"weight": 0}, ValueError, "weight=0 is not between 1e-06 and 1e.06"),
        ({"weight": math.nan}, ValueError, "weight=nan is not between"),
        ({"weight": True}, TypeError, "weight is a number, not bool: True"),
        ({"capacity": 0}, ValueError, "capacity=0 is not between"),
        ({"capacity": "10"}, TypeError, "capacity is a number, not str"),
        ({"load": -0.1}, ValueError, "load=-0.1 is not between 0 and 1e.15"),
        ({"load": math.inf}, ValueError, "load=inf is not between"),
        ({"zone": "a\tb"}, ValueError, "zone .* contains"),
        ({"meta": {"x": object()}}, ValueError, "meta cannot be stored"),
        ({"meta": [1]}, TypeError, "meta is a mapping"),
    ],
)
def test_a_record_that_cannot_be(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    given.setdefault("identity", "me")
    with pytest.raises(error, match=message):
        a_record(**given)


def test_what_is_reported_changes_and_the_rest_stays() -> None:
    before = a_record("me", {"a": 1}, 2, 10, 0.5, "north")
    assert changed(before) == before
    after = changed(before, 0.7, 3, 20, {"b": 2}, draining=True)
    assert after == Record("me", "north", 3.0, 20.0, "draining", 0.7, '{"b":2}')
    assert changed(after, draining=False).state == "active"
    assert changed(before, 0).load == 0.0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"load": -1}, ValueError),
        ({"load": "much"}, TypeError),
        ({"weight": 0}, ValueError),
        ({"capacity": -1}, ValueError),
        ({"meta": "x"}, TypeError),
        ({"draining": 1}, TypeError),
    ],
)
def test_what_cannot_be_reported(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        changed(a_record("me"), **given)
