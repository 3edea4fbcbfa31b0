"""Who owns what: exact shares, the least movement, nothing that is not asked for."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import pairwise, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit._core.ring_node import Node
from coordkit._core.ring_place import (
    NOBODY,
    POINTS,
    aims,
    balanced,
    counts,
    hashed,
    points_of,
)
from coordkit._core.ring_slot import FEWEST_SLOTS

SLOTS = FEWEST_SLOTS
FREE = array("H", repeat(NOBODY, SLOTS))
WEIGHTS = st.lists(
    st.one_of(st.just(0.0), st.sampled_from([1.0, 2.0]), st.floats(1e-6, 1e6)),
    min_size=1,
    max_size=60,
)
EVEN = st.lists(st.floats(0.5, 8.0), min_size=1, max_size=60)


def owned(owners: array[int], nodes: int) -> list[int]:
    return counts(owners)[:nodes]


def moved(before: array[int], after: array[int]) -> list[tuple[int, int]]:
    pairs = zip(before, after, strict=True)
    return [(a, b) for a, b in pairs if a != b]


# -- aims ---------------------------------------------------------------------------------


@given(WEIGHTS, st.data())
def test_every_slot_has_a_place_and_every_node_at_least_one(
    weights: list[float], data: st.DataObject
) -> None:
    have = data.draw(st.lists(st.integers(0, SLOTS), min_size=60, max_size=60))
    if any(weights):
        wanted = aims(weights, SLOTS, have)
        assert sum(wanted) == SLOTS
        assert all(
            (aim > 0) is (weight > 0)
            for aim, weight in zip(wanted, weights, strict=True)
        )


@given(EVEN)
def test_a_share_is_its_quota_rounded_down_or_up(weights: list[float]) -> None:
    total = sum(weights)
    for aim, weight in zip(aims(weights, SLOTS, [0] * 60), weights, strict=True):
        assert abs(aim - SLOTS * weight / total) < 1 + 1e-9


@given(st.integers(1, 60))
def test_equal_weights_differ_by_one_slot_at_most(nodes: int) -> None:
    wanted = aims([0.1] * nodes, SLOTS, [0] * nodes)
    assert max(wanted) - min(wanted) <= 1
    assert wanted == sorted(wanted, reverse=True), "the first names get the rest"


def test_the_largest_remainder_is_rounded_up() -> None:
    # quotas 341.6, 512.4, 170.0
    assert aims([341.6, 512.4, 170.0], SLOTS, [0, 0, 0]) == [342, 512, 170]


def test_who_has_more_already_is_rounded_up_first() -> None:
    """For it would have to give one away, and another to take one."""
    assert aims([1, 1, 1], SLOTS, [0, 0, 0]) == [342, 341, 341]
    assert aims([1, 1, 1], SLOTS, [341, 341, 342]) == [341, 341, 342]


def test_a_tiny_weight_has_a_slot_and_no_more() -> None:
    assert aims([1e-6, 1e6, 1e6], SLOTS, [0, 0, 0]) == [1, 512, 511]
    assert aims([1.0] * SLOTS, SLOTS, [0] * SLOTS) == [1] * SLOTS


def test_more_nodes_than_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="1024 slots cannot have 1025 nodes"):
        aims([1.0] * (SLOTS + 1), SLOTS, [0] * (SLOTS + 1))


# -- balanced -------------------------------------------------------------------------------


@given(EVEN)
def test_a_new_ring_is_exact(weights: list[float]) -> None:
    owners = balanced(FREE, weights)
    assert owned(owners, len(weights)) == aims(weights, SLOTS, [0] * 60)


@given(WEIGHTS, st.data())
def test_the_fewest_slots_move_and_only_from_who_has_too_many(
    weights: list[float], data: st.DataObject
) -> None:
    start = [w or 1.0 for w in data.draw(WEIGHTS)][: len(weights)]
    before = balanced(FREE, start)
    after = balanced(before, weights)
    have, now = owned(before, len(weights)), owned(after, len(weights))
    if not any(weights):
        assert after == FREE
        return
    least = sum(max(0, h - n) for h, n in zip(have, now, strict=True))
    gone = sum(counts(before)[len(weights) :])
    assert len(moved(before, after)) == least + gone
    assert now == aims(weights, SLOTS, have)
    assert balanced(after, weights) == after, "and then none"
    assert balanced(before, weights) == after, "always the same"


@given(st.integers(2, 20), st.data())
def test_what_one_leaves_is_spread_over_all_others(
    nodes: int, data: st.DataObject
) -> None:
    leaver = data.draw(st.integers(0, nodes - 1))
    before = balanced(FREE, [1.0] * nodes)
    after = balanced(before, [float(i != leaver) for i in range(nodes)])
    heirs = Counter(heir for _, heir in moved(before, after))
    assert {giver for giver, _ in moved(before, after)} == {leaver}
    assert set(heirs) == set(range(nodes)) - {leaver}
    assert max(heirs.values()) - min(heirs.values()) <= 2


def test_two_who_leave_together_are_inherited_by_all() -> None:
    before = balanced(FREE, [1.0] * 10)
    after = balanced(before, [0.0, 0.0, *[1.0] * 8])
    for leaver in (0, 1):
        heirs = {b for a, b in moved(before, after) if a == leaver}
        assert heirs == set(range(2, 10))


@given(st.lists(EVEN, min_size=2, max_size=6))
def test_it_stays_exact_whatever_came_before(history: list[list[float]]) -> None:
    owners = FREE
    for weights in history:
        owners = balanced(owners, weights)
        total = sum(weights)
        for has, weight in zip(owned(owners, len(weights)), weights, strict=True):
            assert abs(has - SLOTS * weight / total) < 1 + 1e-9


def test_neighbours_are_strangers() -> None:
    """Or all that a node has would have the same second in its preference list."""
    nodes = 20
    owners = balanced(FREE, [1.0] * nodes)
    after: Counter[tuple[int, int]] = Counter()
    for a, b in pairwise(owners):
        if a != b:
            after[a, b] += 1
    commonest = max(after[0, other] for other in range(nodes))
    assert commonest / sum(after[0, other] for other in range(nodes)) < 0.2


# -- hashed ---------------------------------------------------------------------------------


def named(*names: str, weight: float = 1.0) -> list[Node]:
    return [Node(name, weight) for name in names]


def by_name(nodes: list[Node], slots: int = SLOTS) -> list[str]:
    return [nodes[i].name for i in hashed(nodes, slots)]


def naive(nodes: list[Node], slots: int) -> list[str]:
    """The same, as one would say it."""
    points = [
        (xxh64(f"{node.name}|{i}"), node.name)
        for node in nodes
        for i in range(round(160 * node.weight))
    ]
    owners: list[str] = []
    for slot in range(slots):
        begin = slot * 2**64 // slots
        owners.append(min(((p < begin), p, name) for p, name in points)[2])
    return owners


def xxh64(text: str) -> int:
    from xxhash import xxh64_intdigest

    return xxh64_intdigest(text.encode())


NAMES = st.lists(
    st.text("abcxyz019", min_size=1, max_size=6), min_size=1, max_size=5, unique=True
)


@settings(max_examples=20)
@given(NAMES)
def test_a_hashed_ring_is_a_function_of_its_names(names: list[str]) -> None:
    nodes = named(*sorted(names))
    assert by_name(nodes) == by_name(named(*names)) == naive(nodes, SLOTS)


@given(NAMES)
def test_a_new_name_takes_and_nobody_else_does(names: list[str]) -> None:
    before, after = by_name(named(*names)), by_name(named(*names, "new!"))
    assert {b for a, b in zip(before, after, strict=True) if a != b} <= {"new!"}


def test_weight_is_the_number_of_points() -> None:
    assert points_of("a", 1.0) == POINTS == 160
    assert points_of("a", 0.5) == 80
    assert points_of("a", 1e-6) == 1
    with pytest.raises(ValueError, match="weight=101 of 'a': in a hashed ring"):
        points_of("a", 101)
    light, heavy = Node("light", 1), Node("heavy", 4)
    share = Counter(by_name([light, heavy], 2**14))["heavy"] / 2**14
    assert 0.7 < share < 0.9


def test_a_name_that_ends_in_a_digit_shares_no_points_with_another() -> None:
    """As ``"1"`` and ``"11"`` do where name and number are only put together."""
    points = {xxh64(f"{name}|{i}") for name in ("1", "11", "1|1") for i in range(160)}
    assert len(points) == 3 * 160


def test_a_ring_of_nobody() -> None:
    assert hashed([], SLOTS) == FREE
    assert hashed([Node("a", state="leaving")], SLOTS) == FREE
