"""How even a ring is, counted; and what its zones cannot give, in words."""

from __future__ import annotations

import pytest

from coordkit._core.ring_node import Node
from coordkit._core.ring_snapshot import Snapshot, points
from coordkit._core.ring_stats import RingStats, stats
from core.rings import SLOTS, a_ring, bare, made_up


def by_name(found: RingStats, name: str) -> float:
    return next(share.load for share in found.nodes if share.name == name)


@pytest.mark.parametrize("nodes", [1, 2, 3, 10, 100, 1000])
def test_max_over_mean_is_at_most_one_and_the_nodes_by_the_slots(nodes: int) -> None:
    found = stats(a_ring(nodes, slots=2**14))
    assert 1.0 <= found.max_over_mean <= 1 + nodes / 2**14
    assert 1 - nodes / 2**14 <= found.min_over_mean <= 1.0
    assert found.cv <= found.max_over_mean - found.min_over_mean


def test_shares_are_exact() -> None:
    ring = a_ring({"a": 1.0, "b": 3.0})
    found = stats(ring)
    a, b = found.nodes
    assert (a.slots, a.share, a.ideal, a.load) == (256, 0.25, 0.25, 1.0)
    assert (b.name, b.slots, b.weight, b.zone, b.state) == ("b", 768, 3.0, "", "active")
    assert (found.version, found.slots, found.replicas) == (1, SLOTS, 1)
    assert found.arcs == len(points(ring.table()))
    assert (found.max_over_mean, found.min_over_mean, found.cv) == (1.0, 1.0, 0.0)
    assert found.warnings == ()


def test_who_leaves_has_slots_but_should_have_none() -> None:
    found = stats(next(made_up(a_ring(3), remove=["n1"]).steps(100)))
    gone = found.nodes[1]
    assert (gone.state, gone.ideal, gone.load) == ("leaving", 0.0, 0.0)
    assert 200 < gone.slots < 300
    assert found.max_over_mean < 1, "the others have not got it yet"
    assert found.zones == {"": 2}


def test_a_ring_without_nodes() -> None:
    found = stats(bare(replicas=3))
    assert (found.nodes, found.arcs) == ((), 1)
    assert (found.max_over_mean, found.min_over_mean, found.cv) == (0.0, 0.0, 0.0)


def zoned(replicas: int, **zones: int) -> Snapshot:
    nodes = [Node(f"{z}{i}", zone=z) for z, n in zones.items() for i in range(n)]
    return a_ring(nodes, replicas=replicas, slots=2**14)


def test_copies_are_counted_in_preference_lists() -> None:
    even = stats(zoned(3, a=4, b=4, c=4))
    assert all(0.9 < share.copies < 1.1 for share in even.nodes)
    assert even.warnings == ()
    assert even.zones == {"a": 4, "b": 4, "c": 4}


def test_a_zone_that_is_too_small_is_told() -> None:
    """A third of all copies on a sixth of the weight: twice its share."""
    found = stats(zoned(3, a=5, b=5, c=2))
    assert all(1.9 < s.copies < 2.1 for s in found.nodes if s.zone == "c")
    (warning,) = found.warnings
    assert warning.startswith("zone 'c' has 16.7% of the weight")
    assert "carries 2.0" in warning


@pytest.mark.parametrize(
    ("ring", "says"),
    [
        (zoned(3, a=3, b=3), ["3 replicas, but 2 zones: lists repeat a zone"]),
        (a_ring(2, replicas=3), ["3 replicas, but 2 nodes"]),
        (
            a_ring([Node("a", zone="x"), Node("b"), Node("c", zone="x")], replicas=2),
            ["some nodes have a zone and some have none: each of these counts as one"],
        ),
        (a_ring(2, replicas=2), []),
        (zoned(1, a=5, b=1), []),
    ],
)
def test_what_zones_cannot_give_is_told(ring: Snapshot, says: list[str]) -> None:
    assert list(stats(ring).warnings[: len(says)]) == says
    assert bool(says) is bool(stats(ring).warnings)
