"""What a process knows of a ring: which answer counts, and when there is none."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from coordkit._core.ring_local import LocalRing
from coordkit._core.ring_slot import slot_of
from coordkit._core.ring_snapshot import Snapshot
from coordkit.errors import (
    CoordError,
    DamagedRing,
    EmptyRing,
    KeyConflict,
    StaleRing,
    Unsupported,
)
from core import rings
from core.rings import RING, a_ring, after, bare

FIRST = a_ring(3)
SECOND = after(FIRST, add={"n3": 1.0})
THIRD = after(SECOND, add={"n4": 1.0})


def unasked(local: LocalRing) -> None:
    raise StaleRing(local.name, "nobody has asked")


def a_local(*answers: Any) -> LocalRing:
    """One that was told these, a second after one another, from 101 s on."""
    local = LocalRing(RING, 30.0, nullcontext(), unasked)
    for n, answer in enumerate(answers, 1):
        local.take(answer, 100.0 + n, 100.5 + n)
    return local


def owner(local: LocalRing, key: str = "user:42") -> str:
    """A lookup, as a `Ring` does it."""
    table, shift = local.view
    return table[slot_of(key, 2**20) << 44 >> shift]


def refused(local: LocalRing) -> CoordError:
    """The error of every question; it is the same for all."""
    errors: list[CoordError] = []
    for ask in (lambda: owner(local), local.known, lambda: local.locate("a")):
        with pytest.raises(CoordError) as raised:
            ask()
        errors.append(raised.value)
    assert len({(type(e), str(e)) for e in errors}) == 1
    return errors[0]


def test_the_first_lookup_asks_and_is_answered() -> None:
    asked: list[LocalRing] = []

    def load(local: LocalRing) -> None:
        asked.append(local)
        local.take(rings.whole(FIRST), 100.0, 100.1)

    local = LocalRing(RING, 30.0, nullcontext(), load)
    slot = slot_of("user:42", 1024)
    assert owner(local) == FIRST.table()[slot]
    assert owner(local) == FIRST.table()[slot]
    assert asked == [local]
    assert local.known().version == 1


def test_what_cannot_be_asked_is_told() -> None:
    assert isinstance(refused(a_local()), StaleRing)


def test_a_newer_answer_is_gone_by() -> None:
    local = a_local(rings.whole(FIRST), rings.whole(SECOND))
    assert local.known().version == 2
    slot = slot_of("user:42", 1024)
    where = local.locate("user:42")
    epoch = SECOND.epochs[slot]
    node = SECOND.table()[slot]
    assert where[:] == (slot, node, epoch, 2, None, rings.FLOOR + epoch)
    assert owner(local) == where.node
    assert local.owners("user:42", 2)[0] == where.node
    assert local.deadline == 132.0
    assert local.ask().args == (f"{rings.BIRTH} 2", 1)


def test_an_answer_that_was_overtaken_is_not_gone_by() -> None:
    """Asked before the change, heard after it."""
    local = a_local(rings.whole(FIRST))
    local.heard(THIRD, 105.0, 105.2)
    local.take(rings.whole(SECOND), 105.1, 105.9)
    assert local.known().version == 3
    local.take(rings.NONE, 105.1, 105.9)
    assert local.known().version == 3
    local.take(rings.whole(SECOND), 106.0, 106.1)
    assert local.known().version == 2, "an old dump was restored"


def test_a_ring_made_anew_is_another_at_whatever_version() -> None:
    local = a_local(rings.whole(THIRD))
    again = after(bare(), add={"x": 1.0})
    object.__setattr__(again, "birth", "c" * 32)
    local.take(
        [b"ring", _reborn(rings.meta(again)), *rings.whole(again)[2:]], 100.0, 100.2
    )
    assert local.known().birth == "c" * 32
    assert owner(local) == "x"


def _reborn(meta: list[bytes]) -> list[bytes]:
    return [b"c" * 32 if field == rings.BIRTH.encode() else field for field in meta]


def test_the_same_answer_prolongs_and_swaps_nothing() -> None:
    local = a_local(rings.whole(FIRST))
    view = local.view
    local.take(rings.SAME, 120.0, 120.1)
    assert local.view is view
    assert local.deadline == 150.0
    local.take(rings.SAME, 110.0, 120.2)
    assert local.deadline == 150.0, "never shortened"


def test_too_old_is_told_and_mended_by_any_answer() -> None:
    local = a_local(rings.whole(FIRST))
    local.expire(130.9, "not yet")
    assert local.known().version == 1
    local.expire(131.0, "no answer for 30 s")
    stale = refused(local)
    assert isinstance(stale, StaleRing)
    assert "no answer for 30 s" in str(stale)
    assert local.ask().args == (f"{rings.BIRTH} 1", 1), "what it had may still be true"
    local.take(rings.SAME, 140.0, 140.1)
    assert owner(local) == FIRST.table()[slot_of("user:42", 1024)]
    assert local.deadline == 170.0


def test_a_ring_that_is_not_there_may_come() -> None:
    local = a_local(rings.whole(FIRST), rings.NONE)
    assert isinstance(refused(local), EmptyRing)
    assert local.ask().args == ("", 1)
    local.expire(1000.0, "silence")
    assert isinstance(refused(local), EmptyRing), "it does not become another error"
    local.take(rings.whole(SECOND), 200.0, 200.1)
    assert local.known().version == 2


def test_a_ring_without_nodes_is_known_but_owns_nothing() -> None:
    local = a_local(rings.whole(after(bare())))
    assert local.known().nodes == ()
    for ask in (
        lambda: owner(local),
        lambda: local.locate("a"),
        lambda: local.owners("a", 1),
    ):
        with pytest.raises(EmptyRing, match="'jobs' has no nodes"):
            ask()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([*rings.whole(FIRST)[:3], b"rubbish"], DamagedRing),
        ([b"ring", [b"format", b"9"], [], None], Unsupported),
        (KeyConflict("a key of ours holds another kind of value"), KeyConflict),
    ],
)
def test_what_cannot_be_read_is_not_gone_by(
    answer: Any, error: type[Exception]
) -> None:
    local = a_local(rings.whole(FIRST), answer)
    assert type(refused(local)) is error
    local.take(rings.whole(FIRST), 110.0, 110.1)
    assert local.known().version == 1


def test_an_error_is_raised_anew_each_time() -> None:
    local = a_local(rings.NONE)
    assert refused(local) is not refused(local)


def test_own_changes_are_seen_only_where_the_ring_is_followed() -> None:
    local = a_local()
    local.heard(FIRST, 100.0, 100.1)
    assert local.snapshot is None
    followed = a_local(rings.NONE)
    followed.heard(FIRST, 110.0, 110.1)
    assert followed.known() is FIRST


def test_it_forgets_all() -> None:
    local = a_local(rings.whole(FIRST))
    local.forget(nullcontext())
    assert isinstance(refused(local), StaleRing)
    assert local.snapshot is None


def test_lists_are_of_the_snapshot_that_is_gone_by() -> None:
    def wide(ring: Snapshot) -> tuple[str, ...]:
        local = a_local(rings.whole(ring))
        local.owners("user:42", 2)
        local.take(rings.whole(THIRD), 110.0, 110.1)
        return local.owners("user:42", 5)

    assert sorted(wide(FIRST)) == ["n0", "n1", "n2", "n3", "n4"]
    assert a_local(rings.whole(a_ring(3, replicas=2))).owners("a", None).__len__() == 2
