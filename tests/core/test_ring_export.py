"""A ring as a document: it comes back slot by slot, and what is no ring is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from coordkit._core.ring_export import document, export, import_, snapshot_in
from coordkit._core.ring_node import Node
from coordkit.errors import EmptyRing, KeyConflict
from core import rings
from core.rings import RING, SLOTS, a_ring, a_writer, after, bare, made_up
from core.script import Stage, play

FULL = after(
    a_ring([Node("b", 2.0, "z", 9, {"k": [1]}), Node("a:1"), Node("é")], replicas=2),
    remove=["é"],
    add={"c": 0.5},
)
DOCUMENT = json.loads(json.dumps(document(FULL)))


def test_a_document_says_all() -> None:
    told = {k: v for k, v in DOCUMENT.items() if k not in {"nodes", "arcs"}}
    assert told == {
        "kind": "coordkit ring",
        "format": 1,
        "name": "jobs",
        "version": 2,
        "hash": "xxh64",
        "slots": SLOTS,
        "mode": "balanced",
        "replicas": 2,
    }
    assert DOCUMENT["nodes"][1] == {
        "name": "b",
        "weight": 2.0,
        "zone": "z",
        "capacity": 9,
        "state": "active",
        "meta": {"k": [1]},
    }
    assert DOCUMENT["arcs"][-1][0] == SLOTS - 1


@pytest.mark.parametrize(
    "ring", [FULL, a_ring(5), bare(), next(made_up(FULL, remove=["b"]).steps(9))]
)
def test_it_comes_back_slot_by_slot(ring: Any) -> None:
    told = json.loads(json.dumps(document(ring)))
    again = snapshot_in("other", "b", told)
    assert (again.nodes, again.owners) == (ring.nodes, ring.owners)
    assert (again.mode, again.replicas) == (ring.mode, ring.replicas)


def test_the_order_of_its_nodes_is_its_own() -> None:
    told = deepcopy(DOCUMENT)
    told["nodes"].reverse()
    last = len(told["nodes"]) - 1
    told["arcs"] = [[slot, last - index] for slot, index in told["arcs"]]
    assert snapshot_in("x", "b", told).owners == FULL.owners


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "shopping list"}, "holds no ring"),
        ({"format": 2}, "a ring of format 2"),
        ({"hash": "md5"}, "hashed by 'md5'"),
        ({"slots": 1000}, "power of two"),
        ({"slots": 2048}, "end at slot 1023, not at 2047"),
        ({"slots": None}, "no whole ring"),
        ({"mode": "x"}, "mode='x'"),
        ({"nodes": None}, "no whole ring"),
        ({"nodes": [{"name": "a"}]}, "no whole ring: KeyError"),
        ({"nodes": [{"name": "a", "weight": 0}]}, "weight=0"),
        ({"nodes": [{"name": "a", "weight": 1, "state": "x"}]}, "no state"),
        ({"nodes": [{"name": "a", "weight": 1}] * 2}, "named twice"),
        ({"nodes": []}, "does not fit"),
        ({"arcs": []}, "end at slot -1"),
        ({"arcs": [[SLOTS - 1, 9]]}, "does not fit"),
        ({"arcs": [[5, 0], [5, 1], [SLOTS - 1, 0]]}, "does not fit"),
        ({"arcs": [[SLOTS, 0]]}, "does not fit"),
        ({"arcs": [["x", 0]]}, "no whole ring"),
        ({"arcs": 7}, "no whole ring"),
    ],
)
def test_what_is_no_ring_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        snapshot_in("x", "b", DOCUMENT | changes)


def test_what_is_exported_is_what_is_there_now() -> None:
    assert play(export(RING), [("ring_read", rings.whole(FULL))]) == document(FULL)
    with pytest.raises(EmptyRing):
        play(export(RING), [("ring_read", rings.NONE)])


def importing(told: Any = DOCUMENT, *, over: bool = False) -> Any:
    return import_(RING, told, a_writer(rings.BIRTH), over=over)


def test_it_makes_a_ring_that_is_not_there() -> None:
    commit = Stage().upto(importing(), [("ring_read", rings.NONE)])
    assert commit.args[2] == 0  # type: ignore[union-attr]
    assert commit.args[7] == '{"add":["a:1","b","c"]}'  # type: ignore[union-attr]


def test_one_that_is_there_is_kept_unless_it_is_to_be_written_over() -> None:
    with pytest.raises(KeyConflict, match="there is a ring 'jobs' already"):
        play(importing(), [("ring_read", rings.whole(a_ring()))])
    there = rings.whole(a_ring({"b": 1.0, "x": 1.0}))
    commit: Any = Stage().upto(importing(over=True), [("ring_read", there)])
    assert commit.args[2] == 1, "a change of that ring, like any other"
    assert json.loads(commit.args[7]) == {
        "add": ["a:1", "c"],
        "remove": ["x"],
        "reweight": ["b"],
    }


def test_the_number_of_slots_of_a_ring_never_changes() -> None:
    with pytest.raises(KeyConflict, match="has 2048 slots, the document 1024"):
        play(importing(over=True), [("ring_read", rings.whole(a_ring(slots=2048)))])
