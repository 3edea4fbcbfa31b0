"""A change made up: what it refuses, what moves, and on the way in steps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.ring_change import Change, Move, wanted
from coordkit._core.ring_node import ACTIVE, LEAVING, Node
from coordkit._core.ring_snapshot import Snapshot
from coordkit._core.ring_stats import stats
from coordkit.errors import KeyConflict, NoNode
from core.rings import SLOTS, a_ring, after, bare, made_up


def names(ring: Snapshot) -> list[str]:
    return [node.name for node in ring.nodes]


# -- what is asked for ----------------------------------------------------------------


def test_a_change_is_checked_before_anything_is_sent() -> None:
    change = wanted(add={"a": 1, "b": 2.5}, remove=["c"], reweight={"d": 3})
    assert change == Change((Node("a"), Node("b", 2.5)), ("c",), {"d": 3.0})
    assert change
    assert not wanted()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"remove": "cache-1"}, TypeError, "several names, not one str: 'cache-1'"),
        ({"remove": ["a", "a"]}, ValueError, "'a' is named twice"),
        ({"remove": ["a"], "reweight": {"a": 2}}, ValueError, "'a' is named twice"),
        ({"add": {"a": 1}, "remove": ["a"]}, ValueError, "'a' is named twice"),
        ({"remove": [""]}, ValueError, "0 bytes long"),
        ({"remove": ["a\n"]}, ValueError, "control character"),
        ({"reweight": {"a": 0}}, ValueError, "weight=0 of 'a' is not between"),
        ({"add": [7]}, TypeError, "a node is a name or a Node, not int"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    change: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        wanted(**change)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"remove": ["n9"]}, NoNode),
        ({"reweight": {"n9": 2}}, NoNode),
        ({"add": {"n0": 1}}, KeyConflict),
    ],
)
def test_nodes_must_be_as_the_change_takes_them_to_be(
    change: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"'jobs' has (no node 'n9'|a node 'n0' already)"):
        made_up(a_ring(), **change)


def test_a_hashed_ring_takes_no_weight_that_it_has_no_points_for() -> None:
    ring = a_ring(3, mode="hashed")
    with pytest.raises(ValueError, match="in a hashed ring a node has 160 points"):
        made_up(ring, reweight={"n0": 1000})


# -- what it makes ----------------------------------------------------------------------


def test_several_at_once_are_one_version() -> None:
    old = a_ring(5)
    new = after(old, add={"new": 2.0}, remove=["n1"], reweight={"n2": 3.0})
    assert (new.version, names(new)) == (2, ["n0", "n2", "n3", "n4", "new"])
    assert (new.birth, new.mode, new.replicas) == (old.birth, old.mode, old.replicas)
    shares = {share.name: share.slots for share in stats(new).nodes}
    assert shares == {"n0": 128, "n2": 384, "n3": 128, "n4": 128, "new": 256}


def test_an_epoch_is_the_version_at_which_a_slot_got_its_owner() -> None:
    old = after(a_ring(4), add={"n4": 1.0})
    made = made_up(old, remove=["n2"])
    assert made.new.version == 3
    for slot, epoch in enumerate(made.new.epochs):
        assert epoch == (3 if slot in set(made.moved) else old.epochs[slot])
    assert {1, 2, 3} == set(made.new.epochs)


def test_a_slot_that_keeps_its_owner_keeps_its_epoch_though_indexes_shift() -> None:
    old = a_ring({"m": 1.0, "z": 1.0})
    new = after(old, add={"a": 1.0})
    for before, now, epoch in zip(old.table(), new.table(), new.epochs, strict=True):
        assert (epoch == 1) is (before == now)


def test_moves_are_runs_of_slots() -> None:
    made = made_up(a_ring(2), add={"new": 1.0})
    before, now = made.old.table(), made.new.table()
    slots = [s for move in made.moves for s in range(move.first, move.last + 1)]
    assert slots == made.moved == [s for s in range(SLOTS) if before[s] != now[s]]
    assert sum(move.slots for move in made.moves) == len(slots)
    for first, last, source, target in made.moves:
        assert {*before[first : last + 1]} == {source}
        assert {*now[first : last + 1]} == {target} == {"new"}
    assert any(move.slots > 1 for move in made.moves)
    assert made.moves == sorted(made.moves)
    assert Move(3, 5, "a", "b").slots == 3


def test_the_first_nodes_move_nothing() -> None:
    made = made_up(bare(), add={"a": 1.0})
    assert (made.moves, made.ideal()) == ([], 0.0)
    assert len(made.moved) == SLOTS


def test_the_last_node_leaves_a_ring_without_owners() -> None:
    made = made_up(a_ring(1), remove=["n0"])
    assert (made.new.table(), made.moves, made.ideal()) == ([], [], 0.0)
    assert made.moved == list(range(SLOTS)), "its points must go"
    assert after(made.new, add={"a": 1.0}).table() == ["a"] * SLOTS


@pytest.mark.parametrize("nodes", [2, 10, 100])
@pytest.mark.parametrize(
    "change",
    [{"add": {"new": 1.0}}, {"remove": ["n1"]}, {"reweight": {"n1": 2.0}}],
    ids=str,
)
def test_what_moves_is_what_the_weights_ask_for(
    nodes: int, change: dict[str, Any]
) -> None:
    made = made_up(a_ring(nodes, slots=2**14), **change)
    assert len(made.moved) / 2**14 <= 1.01 * made.ideal()


def test_the_ideal_of_a_hashed_ring_is_not_met_but_named() -> None:
    made = made_up(a_ring(4, mode="hashed"), add={"n4": 1.0})
    assert made.ideal() == pytest.approx(0.2)
    assert 0.1 < len(made.moved) / SLOTS < 0.3


# -- in steps ---------------------------------------------------------------------------


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "add": st.just({"new": 1.5, "newer": 0.5}),
        "remove": st.just(["n1", "n2"]),
        "reweight": st.just({"n0": 2.0}),
    },
).filter(bool)


@given(CHANGES, st.integers(1, 400), st.sampled_from(["balanced", "hashed"]))
def test_each_step_moves_so_many_at_most_and_the_last_arrives(
    change: dict[str, Any], most: int, mode: str
) -> None:
    old = a_ring(5, mode=mode)
    made = made_up(old, **change)
    at = old
    for new in made.steps(most):
        before, now = at.table(), new.table()
        moved = [s for s in range(SLOTS) if before[s] != now[s]]
        assert 0 < len(moved) <= most
        assert all(now[s] == made.new.table()[s] for s in moved), "not to and fro"
        assert new.version == at.version + 1
        assert all(new.epochs[s] == new.version for s in moved)
        at = new
    assert (at.nodes, at.owners) == (made.new.nodes, made.new.owners)
    assert at.version == old.version + -(-len(made.moved) // most)


def test_who_goes_leaves_until_it_owns_nothing() -> None:
    made = made_up(a_ring(3), remove=["n1"], add={"n3": 1.0})
    *on_the_way, last = made.steps(100)
    for ring in on_the_way:
        states = {node.name: node.state for node in ring.nodes}
        assert states == {"n0": ACTIVE, "n1": LEAVING, "n2": ACTIVE, "n3": ACTIVE}
    assert names(last) == ["n0", "n2", "n3"]


def test_what_was_left_open_is_finished_by_a_change_without_one() -> None:
    made = made_up(a_ring(6), remove=["n1"], reweight={"n2": 2.0})
    first = next(made.steps(10))
    rest = made_up(first)
    assert rest.new.nodes == made.new.nodes
    assert len(rest.moved) == len(made.moved) - 10
    assert made_up(rest.new).moved == [], "then there is nothing left"


def test_a_node_that_is_leaving_gets_nothing_from_another_change() -> None:
    first = next(made_up(a_ring(6), remove=["n1"]).steps(10))
    new = after(first, add={"new": 1.0})
    assert "n1" not in names(new)
    assert set(new.table()) == {"n0", "n2", "n3", "n4", "n5", "new"}
