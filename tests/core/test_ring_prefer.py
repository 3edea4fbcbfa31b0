"""Preference lists: distinct nodes, distinct zones while there are enough."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.ring_node import Node
from coordkit._core.ring_prefer import Spread
from coordkit._core.ring_snapshot import Snapshot
from core.rings import SLOTS, a_ring, bare

ZONES = st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=8)


def zoned(zones: list[str]) -> Snapshot:
    return a_ring([Node(f"n{i}", zone=zone) for i, zone in enumerate(zones)])


def naive(ring: Snapshot, slot: int, n: int) -> tuple[str, ...]:
    """The same, as one would say it: rounds, each with one more of each zone."""
    table = ring.table()
    order = dict.fromkeys(table[(slot + i) % SLOTS] for i in range(SLOTS))
    zones = {node.name: node.zone or node.name for node in ring.nodes}
    met: Counter[str] = Counter()
    ranked: list[tuple[int, str]] = []
    for name in order:
        ranked.append((met[zones[name]], name))
        met[zones[name]] += 1
    return tuple(name for _, name in sorted(ranked, key=lambda pair: pair[0]))[:n]


@given(ZONES, st.integers(0, SLOTS - 1), st.integers(1, 9))
def test_it_is_what_one_would_say(zones: list[str], slot: int, n: int) -> None:
    ring = zoned(zones)
    assert Spread.of(ring).preferred(slot, n) == naive(ring, slot, n)


@given(ZONES, st.integers(0, SLOTS - 1))
def test_a_longer_list_begins_with_the_shorter(zones: list[str], slot: int) -> None:
    ring = zoned(zones)
    spread = Spread.of(ring)
    whole = spread.preferred(slot, len(zones))
    assert whole[0] == ring.table()[slot], "its owner first"
    assert len(set(whole)) == len(zones) == spread.nodes
    for n in range(1, len(zones)):
        assert spread.preferred(slot, n) == whole[:n]


def test_zones_are_distinct_while_there_are_enough() -> None:
    ring = zoned(["a", "a", "b", "b", "b", "c"])
    spread, zone = Spread.of(ring), {node.name: node.zone for node in ring.nodes}
    for slot in range(SLOTS):
        found = [zone[name] for name in spread.preferred(slot, 5)]
        assert set(found[:3]) == {"a", "b", "c"}
        assert set(found[3:]) == {"a", "b"}, "and then a second of each"


def test_without_zones_only_nodes_are_distinct() -> None:
    spread = Spread.of(a_ring(4))
    assert {len(set(spread.preferred(slot, 4))) for slot in range(SLOTS)} == {4}


def test_no_more_nodes_than_there_are() -> None:
    assert Spread.of(a_ring(2)).preferred(7, 5) == Spread.of(a_ring(2)).preferred(7, 2)
    assert Spread.of(a_ring(1)).preferred(SLOTS - 1, 3) == ("n0",)
    assert Spread.of(bare()).preferred(0, 3) == ()


def test_the_load_of_a_node_that_fails_is_spread() -> None:
    spread = Spread.of(a_ring(20, slots=2**14))
    seconds: Counter[str] = Counter()
    for slot in range(2**14):
        first, second = spread.preferred(slot, 2)
        if first == "n7":
            seconds[second] += 1
    assert len(seconds) == 19
    assert max(seconds.values()) < 2 * seconds.total() / 19
