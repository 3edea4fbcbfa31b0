"""A snapshot: as it is packed, as points, and what is wrong with a damaged one."""

from __future__ import annotations

import struct
from array import array
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.ring_change import changed_slots
from coordkit._core.ring_node import Node
from coordkit._core.ring_place import NOBODY
from coordkit._core.ring_snapshot import Snapshot, pack, points, ranges, redrawn, unpack
from core.rings import SLOTS, a_ring, after, bare

NAMES = st.lists(
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")),
        min_size=1,
        max_size=9,
    ),
    min_size=1,
    max_size=9,
    unique=True,
)


@given(NAMES)
def test_what_is_packed_comes_back(names: list[str]) -> None:
    ring = after(a_ring({"first": 1.0}), add={f"{name}!": 1.0 for name in names})
    version, found, owners, epochs, aims = unpack(pack(ring))
    assert (version, owners, epochs) == (2, ring.owners, ring.epochs)
    assert aims is None
    assert found == [node.name for node in ring.nodes]
    assert found == sorted(found, key=str.encode), "by their bytes"


def test_a_ring_without_nodes_is_packed_too() -> None:
    version, names, owners, *_ = unpack(pack(bare()))
    assert (version, names, set(owners)) == (0, [], {NOBODY})


def test_golden_bytes() -> None:
    """What programs of other languages read."""
    ring = a_ring({"b": 3.0, "a": 1.0})
    packed = pack(ring)
    head = struct.Struct("<4sBBHQI")
    assert head.unpack_from(packed) == (b"ckrg", 1, 10, 2, 1, 3)
    assert packed[20:23] == b"a\nb"
    assert packed[23 : 23 + 2 * SLOTS] == struct.pack(f"<{SLOTS}H", *ring.owners)
    assert packed[23 + 2 * SLOTS : -4] == struct.pack(f"<{SLOTS}I", *[1] * SLOTS)
    assert packed[-4:] == struct.pack("<I", crc32(packed[:-4]))
    assert len(packed) == 20 + 3 + 6 * SLOTS + 4


@given(st.data())
def test_whatever_is_changed_in_it_is_noticed(data: st.DataObject) -> None:
    packed = bytearray(pack(a_ring()))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="packed ring"):
        unpack(bytes(packed))


@pytest.mark.parametrize("size", [0, 3, 19, 23, 24, 6000, -1])
def test_a_part_of_it_is_noticed(size: int) -> None:
    with pytest.raises(ValueError, match="packed ring"):
        unpack(pack(a_ring())[:size])


def forged(**changes: Any) -> bytes:
    """A packed ring that lies, with the right CRC."""
    ring = a_ring()
    head = {"format": 1, "bits": 10, "nodes": 3, "version": 1, "length": 8} | changes
    owners: array[int] = changes.pop("owners", ring.owners)
    body = struct.pack("<4sBBHQI", b"ckrg", *list(head.values())[:5]) + b"n0\nn1\nn2"
    body += owners.tobytes() + ring.epochs.tobytes()
    return body + struct.pack("<I", crc32(body))


def test_a_forgery_without_a_lie_is_read() -> None:
    assert unpack(forged()).owners == a_ring().owners


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"format": 2}, "size or format"),
        ({"bits": 11}, "size or format"),
        ({"bits": 63}, "size or format"),
        ({"length": 7}, "size or format"),
        ({"nodes": 4}, "does not name"),
        ({"owners": array("H", [3] * SLOTS)}, "does not name"),
        ({"owners": array("H", [NOBODY, *[0] * (SLOTS - 1)])}, "does not name"),
    ],
)
def test_a_lie_is_noticed(lie: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack(forged(**lie))


# -- points ---------------------------------------------------------------------------------


def owner_by_points(found: list[tuple[int, str]], slot: int) -> str:
    """What ``ZRANGE … <slot> +inf BYSCORE LIMIT 0 1`` answers."""
    return next(member for score, member in found if score >= slot).partition(":")[2]


def rings() -> st.SearchStrategy[Snapshot]:
    weights = st.dictionaries(
        st.sampled_from([":", "a:1", "b", "c:d:e", "é"]), st.floats(0.5, 4), min_size=1
    )
    return weights.map(a_ring)


@given(rings())
def test_the_first_point_at_or_after_a_slot_names_its_owner(ring: Snapshot) -> None:
    table, found = ring.table(), points(ring.table())
    assert found == sorted(found)
    assert found[-1][0] == SLOTS - 1, "there is always one"
    assert all(member.startswith(f"{score}:") for score, member in found)
    for slot in range(0, SLOTS, 7):
        assert owner_by_points(found, slot) == table[slot]


@given(rings(), rings())
def test_only_the_points_that_differ_are_written(old: Snapshot, new: Snapshot) -> None:
    before, now = old.table(), new.table()
    moved = [slot for slot in range(SLOTS) if before[slot] != now[slot]]
    gone, come = redrawn(before, now, SLOTS, moved)
    stored = {member: score for score, member in points(before)}
    for member in gone:
        del stored[member]
    assert not stored.keys() & {member for _, member in come}
    stored |= {member: score for score, member in come}
    assert stored == {member: score for score, member in points(now)}
    assert len(gone) <= 2 * len(moved)


def test_a_ring_without_nodes_has_no_points() -> None:
    assert points(bare().table()) == []
    ring = a_ring()
    gone, come = redrawn(ring.table(), [], SLOTS, range(SLOTS))
    assert (gone, come) == ([member for _, member in points(ring.table())], [])


@given(rings())
def test_ranges_are_the_slots_of_a_node(ring: Snapshot) -> None:
    table = ring.table()
    for node in ring.nodes:
        runs = list(ranges(table, node.name))
        slots = [s for first, last in runs for s in range(first, last + 1)]
        assert slots == [s for s in range(SLOTS) if table[s] == node.name]
        assert all(a.last + 1 < b.first for a, b in pairwise(runs))
    assert list(ranges(table, "nobody")) == []


def test_what_it_tells_of_itself() -> None:
    ring = a_ring([Node("a", zone="x")])
    assert (ring.slots, ring.owned, ring.version) == (SLOTS, True, 1)
    assert not bare().owned
    newer = after(ring, add={"b": 1.0})
    assert ring.overtaken_by(newer)
    assert not newer.overtaken_by(ring)
    assert changed_slots(ring.owners, ring.owners) == []
