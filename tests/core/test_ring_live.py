"""What becomes of a ring as its nodes come, go and die: one rule, whoever applies it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit._core.ring_change import next_version
from coordkit._core.ring_live import Life, dead, mine, pending, settled
from coordkit._core.ring_node import ACTIVE, AWAY, LEAVING, Node
from coordkit._core.ring_read import snapshot_of
from coordkit._core.ring_snapshot import Snapshot, pack, unpack
from core import rings
from core.rings import after, bare

GRACE = 60.0


def lives(*names: str, token: int = 1, grace: float = GRACE) -> dict[str, Life]:
    """These nodes are there, each by a membership of that token."""
    return {name: Life(token, Node(name, grace=grace)) for name in names}


def then(ring: Snapshot, there: dict[str, Life], now: float = 0.0) -> Snapshot:
    """The ring once everybody has done all that he should, hand-overs too."""
    for _ in range(2 * len(there) + 2):
        for name, life in there.items():
            ready = pending(ring, name, life.token, there)
            ring = settled(ring, there, now, given=ready) or ring
    assert settled(ring, there, now) is None, "it comes to rest"
    return ring


def settle(ring: Snapshot, there: dict[str, Life], now: float = 0.0) -> Snapshot:
    """The ring after one look."""
    made = settled(ring, there, now)
    assert made is not None
    assert settled(made, there, now) is None, "whoever is later finds it made"
    return made


THREE = settle(bare(), lives("a", "b", "c"))


def share(ring: Snapshot) -> Counter[str]:
    return Counter(ring.table())


def states(ring: Snapshot) -> dict[str, str]:
    return {node.name: node.state for node in ring.nodes}


# -- it comes ----------------------------------------------------------------------------


def test_the_first_make_the_ring() -> None:
    assert set(share(THREE).values()) == {341, 342}
    assert THREE.next is None
    assert [node.holder for node in THREE.nodes] == [1, 1, 1]


def test_a_newcomer_gets_nothing_that_a_live_node_has_not_let_go() -> None:
    there = lives("a", "b", "c", "d")
    ring = settle(THREE, there)
    assert "d" not in share(ring)
    assert Counter(ring.aims())["d"] == 256
    going = pending(ring, "a", 1, there)
    assert {ring.aims()[slot] for slot in going} == {"d"}
    ring = settled(ring, there, 0.0, given=going) or ring
    assert share(ring)["d"] == len(going)
    assert {ring.epochs[slot] for slot in going} == {ring.version}
    assert not pending(ring, "a", 1, there)
    assert pending(ring, "b", 1, there)
    ring = then(ring, there)
    assert set(share(ring).values()) == {256}
    assert ring.next is None


def test_slots_of_nodes_that_never_joined_go_at_once() -> None:
    static = after(bare(), add={"x": 1.0, "y": 1.0})
    ring = settle(static, lives("a"))
    assert share(ring)["a"] in {341, 342}
    assert ring.next is None


def test_who_joins_as_a_node_that_is_there_has_its_slots_by_new_epochs() -> None:
    static = after(bare(), add={"x": 2.0, "y": 1.0})
    ring = settle(static, lives("x", token=7))
    assert ring.table() == static.table()
    held = mine(ring, "x", 7)
    assert held is not None
    for slot, is_its in enumerate(held):
        assert ring.epochs[slot] == (ring.version if is_its else static.epochs[slot])
    assert mine(ring, "x", 6) is None
    assert mine(ring, "z", 7) is None


# -- it dies, and comes back ------------------------------------------------------------------


def test_others_stand_in_for_a_dead_node_and_its_place_is_kept() -> None:
    ring = settle(THREE, lives("a", "b"), 100.0)
    assert states(ring)["c"] == AWAY
    assert ring.nodes[2].until == 100.0 + GRACE
    assert "c" not in share(ring)
    assert ring.aims() == THREE.table(), "what is to be its stays so"
    for before, now, epoch in zip(
        THREE.table(), ring.table(), ring.epochs, strict=True
    ):
        assert (epoch == ring.version) is (before == "c")
        assert before in {now, "c"}
    assert max(share(ring).values()) - min(share(ring).values()) <= 1
    assert not pending(ring, "a", 1, lives("a", "b")), "there is nobody to give it to"


def test_who_is_back_within_its_grace_gets_exactly_its_slots_again() -> None:
    ring = settle(THREE, lives("a", "b"), 100.0)
    there = lives("a", "b") | lives("c", token=2)
    back = settle(ring, there, 150.0)
    assert states(back)["c"] == ACTIVE
    assert back.table() == ring.table(), "those who stand in let it go first"
    done = then(back, there, 150.0)
    assert done.table() == THREE.table()
    held = mine(done, "c", 2)
    assert held is not None
    for slot, is_its in enumerate(held):
        assert not is_its or done.epochs[slot] > ring.epochs[slot]


def test_after_its_grace_it_is_no_node_any_more_and_little_moves() -> None:
    ring = settle(THREE, lives("a", "b"), 100.0)
    assert settled(ring, lives("a", "b"), 159.9) is None
    gone = settle(ring, lives("a", "b"), 160.0)
    assert [node.name for node in gone.nodes] == ["a", "b"]
    assert gone.table() == ring.table(), "who stood in keeps it"
    assert gone.next is None


def test_without_grace_it_is_none_at_once() -> None:
    there = lives("a", "b", "c", grace=0.0)
    ring = settle(settle(bare(), there), {n: there[n] for n in "ab"})
    assert [node.name for node in ring.nodes] == ["a", "b"]
    assert set(share(ring).values()) == {512}


def test_who_leaves_hands_over_at_once() -> None:
    ring = settled(THREE, lives("a", "b"), 0.0, left=["c"])
    assert ring is not None
    assert [node.name for node in ring.nodes] == ["a", "b"]
    assert set(share(ring).values()) == {512}


def test_the_last_one_leaves_nobody() -> None:
    alone = settle(bare(), lives("a"))
    gone = settled(alone, {}, 0.0, left=["a"])
    assert gone is not None
    assert not gone.owned


def test_the_last_one_leaves_what_is_kept_to_those_who_are_away() -> None:
    there = lives("a", "b")
    ring = settle(settle(bare(), there), lives("a"))
    gone = settled(ring, {}, 1.0, left=["a"])
    assert gone is not None
    assert set(gone.table()) == {"b"}, "nobody is there, but it is to be its"
    assert [node.name for node in dead(gone, {})] == []
    again = settle(gone, lives("a", token=5), 2.0)
    assert set(again.table()) == {"a"}


def test_a_restart_of_all_gives_each_what_it_had_by_new_epochs() -> None:
    ring = settle(THREE, lives("a", "b", "c", token=2))
    assert ring.table() == THREE.table()
    assert set(ring.epochs) == {ring.version}


def test_what_was_seen_before_a_rejoin_changes_nothing() -> None:
    ring = settle(THREE, lives("a", "b", "c", token=2))
    assert settled(ring, lives("a", "b", "c", token=1), 0.0) is None


# -- operators ------------------------------------------------------------------------------


def test_a_live_node_that_is_removed_hands_over_and_stays_until_it_leaves() -> None:
    ring = after(THREE, remove=["c"])
    assert states(ring)["c"] == LEAVING
    assert ring.table() == THREE.table()
    there = lives("a", "b", "c")
    done = then(ring, there)
    assert "c" not in share(done)
    assert states(done)["c"] == LEAVING
    gone = settle(done, lives("a", "b"))
    assert [node.name for node in gone.nodes] == ["a", "b"]


def test_who_comes_anew_as_a_node_that_was_leaving_stays() -> None:
    ring = settle(after(THREE, remove=["c"]), lives("a", "b") | lives("c", token=2))
    assert states(ring)["c"] == ACTIVE
    assert then(ring, lives("a", "b") | lives("c", token=2)).next is None


def test_a_node_that_is_away_is_removed_at_once() -> None:
    ring = after(settle(THREE, lives("a", "b"), 100.0), remove=["c"])
    assert [node.name for node in ring.nodes] == ["a", "b"]


def test_a_weight_is_handed_over_too() -> None:
    ring = after(THREE, reweight={"a": 2.0})
    assert ring.table() == THREE.table()
    done = then(ring, lives("a", "b", "c"))
    assert share(done) == {"a": 512, "b": 256, "c": 256}


def test_the_only_one_that_is_removed_serves_on() -> None:
    alone = settle(bare(), lives("a"))
    ring = after(alone, remove=["a"])
    assert set(ring.table()) == {"a"}
    assert settled(ring, lives("a"), 0.0) is None
    assert not pending(ring, "a", 1, lives("a"))
    joined = then(ring, lives("a", "b"))
    assert set(joined.table()) == {"b"}


# -- as it is stored --------------------------------------------------------------------------


def test_both_tables_are_stored_and_read_again() -> None:
    ring = settle(THREE, lives("a", "b", "c", "d"))
    assert ring.format == 2
    assert unpack(pack(ring)).next == ring.next
    again = snapshot_of("jobs", rings.whole(ring))
    assert (again.nodes, again.owners, again.next) == (
        ring.nodes,
        ring.owners,
        ring.next,
    )
    away = settle(THREE, lives("a", "b"), 1_700_000_000.125)
    assert snapshot_of("jobs", rings.whole(away)).nodes == away.nodes


def test_without_live_nodes_it_is_stored_as_ever() -> None:
    static = after(bare(), add={"x": 1.0})
    assert static.format == 1
    assert len(pack(settle(static, lives("x")))) == len(pack(static)) + 2 * 1024


# -- whatever happens ---------------------------------------------------------------------------

NAMES = "abcde"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_nobody_who_lives_loses_what_he_has_not_let_go(data: st.DataObject) -> None:
    ring, there, now = bare(), dict[str, Life](), 0.0
    for token in range(1, data.draw(st.integers(2, 12))):
        now += data.draw(st.sampled_from([0.0, 1.0, 40.0]))
        ready: frozenset[int] = frozenset()
        name = data.draw(st.sampled_from(NAMES))
        what = data.draw(st.sampled_from(["join", "die", "give", "operate"]))
        if what == "join":
            there = there | lives(name, token=token)
        elif what == "die":
            there = {n: life for n, life in there.items() if n != name}
        elif what == "give" and name in there:
            ready = pending(ring, name, there[name].token, there)
        elif name in states(ring):
            ring = after(ring, **data.draw(st.sampled_from(operations(name))))
        if ring.version or there:
            ring = _look(ring, there, now, ready)
    if there:
        done = then(ring, there, now)
        for slot, (owner, target) in enumerate(
            zip(done.table(), done.aims() or done.table(), strict=True)
        ):
            assert owner == target or states(done)[target] != ACTIVE, slot


def operations(name: str) -> list[dict[str, Any]]:
    return [{"remove": [name]}, {"reweight": {name: 0.5}}, {"reweight": {name: 3.0}}]


def _look(
    ring: Snapshot, there: dict[str, Life], now: float, ready: frozenset[int]
) -> Snapshot:
    made = settled(ring, there, now, given=ready)
    if made is None:
        same = next_version(ring, ring.nodes, ring.targets, there)
        assert (same.owners, same.targets) == (ring.owners, ring.targets)
        return ring
    assert settled(made, there, now) is None
    assert made.version == ring.version + 1
    assert not there or set(share(made)) <= set(there), "who has slots is there"
    _check_kept(ring, made, there, ready)
    return made


def _check_kept(
    old: Snapshot, new: Snapshot, there: dict[str, Life], ready: frozenset[int]
) -> None:
    before, after_ = old.table() or [""] * old.slots, new.table() or [""] * old.slots
    holders = {node.name: node.holder for node in old.nodes}
    renewed = {n.name for n in new.nodes if holders.get(n.name, n.holder) != n.holder}
    for slot, (was, now) in enumerate(zip(before, after_, strict=True)):
        moved = was != now
        if moved and was in there and holders.get(was):
            assert slot in ready, f"{was} has not let slot {slot} go"
        fresh = moved or now in renewed
        assert (new.epochs[slot] == new.version) is fresh


def test_a_node_is_away_by_its_own_grace() -> None:
    there = lives("a", "b") | {"c": Life(1, replace(Node("c"), grace=5.0))}
    ring = settle(settle(bare(), there), lives("a", "b"), 10.0)
    assert ring.nodes[2].until == 15.0
