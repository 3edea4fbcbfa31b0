"""How one of several is picked: each strategy, told exactly or counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from xxhash import xxh64_intdigest

from coordkit._core.members import MemberInfo
from coordkit._core.strategies import (
    STALE,
    Affinity,
    AtRandom,
    InTurn,
    LeastLoaded,
    Loads,
    Smooth,
    Table,
    TwoChoices,
)

KEYS = [f"user:{n}" for n in range(20_000)]


def members(*weights: float, **more: Sequence[Any]) -> list[MemberInfo]:
    """Members a, b, c … of these weights; of what is said more, one for each."""
    return [
        MemberInfo(
            identity=chr(97 + n) if len(weights) <= 26 else f"m{n}",
            holder=f"r{n}",
            token=n,
            since=0.0,
            weight=weight,
            **{what: values[n] for what, values in more.items()},
        )
        for n, weight in enumerate(weights)
    ]


def zero() -> float:
    """Draw what makes a sequence begin at its beginning."""
    return 0.0


def seeded(seed: int = 1) -> Any:
    return random.Random(seed).random


def sequence(table: Table, length: int) -> str:
    """The members picked one after another, a letter each."""
    return "".join(chr(97 + int(table.pick(n)[1:])) for n in range(length))


def counted(table: Table, picks: int) -> Counter[str]:
    return Counter(sequence(table, picks))


def loads_of(given: Sequence[MemberInfo], cost: float = 1.0) -> Loads:
    loads = Loads(cost)
    loads.look({each.holder: each for each in given})
    return loads


def taken(table: Table, loads: Loads, at: int = 0) -> str:
    """Pick as a balancer does: the pick counts."""
    holder = table.pick(at)
    loads.take(holder)
    table.changed(holder)
    return chr(97 + int(holder[1:]))


# -- random, in turn -------------------------------------------------------------------


def test_at_random_each_by_its_weight() -> None:
    found = counted(AtRandom(members(1, 2, 5), seeded()), 8000)
    for name, expected in (("a", 1000), ("b", 2000), ("c", 5000)):
        assert abs(found[name] - expected) < 200


@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-53])
def test_at_random_the_outermost_draws_pick_somebody(drawn: float) -> None:
    table = AtRandom(members(0.1, 0.2, 0.3), lambda: drawn)
    assert table.pick(0) == ("r2" if drawn else "r0")


def test_in_turn_one_after_another() -> None:
    table = InTurn(members(1, 9, 1))
    assert sequence(table, 7) == "abcabca"
    assert table.pick(10**15) == f"r{10**15 % 3}"


# -- weighted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((5, 1, 1), "aabacaa"),  # of the commit that brought it into nginx
        ((1, 1, 1), "abc"),
        ((4, 2, 1), "abacaba"),
        ((1, 2), "bab"),
        ((3,), "a"),
    ],
)
def test_weighted_is_the_smooth_sequence_of_nginx(
    weights: tuple[float, ...], expected: str
) -> None:
    table = Smooth(members(*weights), zero)
    assert sequence(table, 3 * len(expected)) == 3 * expected


def as_nginx(weights: Sequence[int], picks: int) -> list[int]:
    """The algorithm as it stands in nginx, member by member."""
    current, found = [0] * len(weights), list[int]()
    for _ in range(picks):
        best = -1
        for i, weight in enumerate(weights):
            current[i] += weight
            if best < 0 or current[i] > current[best]:
                best = i
        current[best] -= sum(weights)
        found.append(best)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_weighted_takes_shorter_ways_to_the_same_members(seed: int) -> None:
    dice = random.Random(seed)
    weights = [dice.choice((1, 1, 2, 3, 7)) for _ in range(dice.randint(1, 12))]
    table = Smooth(members(*map(float, weights)), zero)
    picks = 3 * sum(weights) + 1
    expected = as_nginx(weights, picks)
    assert sequence(table, picks) == "".join(chr(97 + i) for i in expected)


def test_weighted_knows_fractions_exactly() -> None:
    tenths = Smooth(members(0.5, 0.25, 0.25), zero)
    assert sequence(tenths, 8) == "abca" * 2
    found = counted(Smooth(members(0.1, 0.3, 1e-6, 1e6), zero), 1000)
    assert found == {"d": 1000}
    odd = counted(Smooth(members(0.1, 0.2, 0.7), zero), 1000)
    assert odd == {"a": 100, "b": 200, "c": 700}


def test_weighted_begins_anywhere_for_each_client() -> None:
    """Else all of them would pick the heaviest at the moment of a change."""
    given = members(5, 1, 1, 1, 1, 1)
    firsts = Counter(sequence(Smooth(given, seeded(seed)), 1) for seed in range(1000))
    assert len(firsts) == 6
    assert 350 < firsts["a"] < 650
    again = sequence(Smooth(given, seeded(7)), 20)
    assert Counter(again) == {"a": 10} | dict.fromkeys("bcdef", 2)


# -- by load -----------------------------------------------------------------------------


def test_loads_are_what_was_reported_and_what_was_given_since() -> None:
    given = members(1, 2, 1, load=(3.0, 3.0, 3.0), capacity=(6.0, None, 3.0))
    loads = loads_of(given, cost=0.5)
    assert [loads.share(f"r{n}") for n in range(3)] == [0.5, 1.5, 1.0]
    loads.take("r0")
    loads.take("r0")
    assert loads.of("r0") == 4.0
    loads.done("r0")
    assert loads.of("r0") == 3.5
    for _ in range(3):
        loads.done("r0")
    assert loads.of("r0") == 3.0, "what was reported has it in it already"


def test_a_report_of_a_member_has_its_picks_in_it() -> None:
    before = members(1, 1, load=(1.0, 1.0))
    loads = loads_of(before)
    loads.take("r0")
    loads.take("r1")
    now = members(1, 1, load=(2.0, 1.0))
    loads.look({each.holder: each for each in now})
    assert (loads.of("r0"), loads.of("r1")) == (2.0, 2.0)
    loads.look({each.holder: each for each in now[:1]})
    loads.look({each.holder: each for each in now})
    assert loads.of("r1") == 1.0, "it is another one"


def test_where_picks_are_never_done_counting_begins_anew_with_others() -> None:
    """Else whoever comes, or comes back, would get every pick for a while."""
    loads = loads_of(members(1, 1))
    loads.take("r0")
    loads.others()
    assert loads.of("r0") == 0.0
    loads.take("r0")
    loads.take("r0")
    loads.done("r0")
    loads.others()
    assert loads.of("r0") == 1.0, "what is not done is under way"


def test_the_least_loaded_of_all() -> None:
    given = members(1, 1, 1, 1, load=(3.0, 1.0, 2.0, 8.0), capacity=(10, 10, 10, 100))
    loads = loads_of(given)
    table = LeastLoaded(given, loads, zero)
    shares = [0.3, 0.1, 0.2, 0.08]
    for _ in range(40):
        least = min(shares)
        index = ord(taken(table, loads)) - 97
        assert shares[index] == pytest.approx(least)
        shares[index] += 0.01 if index == 3 else 0.1


def test_of_several_least_loaded_in_turn() -> None:
    """And not all clients begin with the same one."""
    given = members(*[1.0] * 5)
    firsts: set[str] = set()
    for seed in range(50):
        loads = loads_of(given)
        table = LeastLoaded(given, loads, seeded(seed))
        picks = [taken(table, loads) for _ in range(15)]
        assert Counter(picks) == dict.fromkeys("abcde", 3)
        assert set(picks[:5]) == set("abcde")
        firsts.add(picks[0])
    assert firsts == set("abcde")


@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_of_several_least_loaded_in_turn_when_each_pick_is_done_at_once(
    cost: float,
) -> None:
    given = members(*[1.0] * 3)
    loads = loads_of(given, cost)
    table, found = LeastLoaded(given, loads, zero), ""
    for _ in range(60):
        found += taken(table, loads)
        loads.done(f"r{ord(found[-1]) - 97}")
        table.changed(f"r{ord(found[-1]) - 97}")
    assert found == found[:3] * 20
    assert set(found) == set("abc")


def test_the_least_loaded_when_picks_are_done() -> None:
    given = members(1, 1, 1)
    loads = loads_of(given)
    table: Any = LeastLoaded(given, loads, zero)
    dice = random.Random(3)
    running: list[str] = []
    for _ in range(3000):
        if running and dice.random() < 0.5:
            holder = running.pop(dice.randrange(len(running)))
            loads.done(holder)
            table.changed(holder)
            continue
        holder = table.pick(0)
        least = min(Counter(running).get(f"r{n}", 0) for n in range(3))
        assert running.count(holder) == least
        loads.take(holder)
        table.changed(holder)
        running.append(holder)
        assert len(table._heap) <= STALE * (3 + STALE)
    table.changed("somebody else")


def test_two_choices_are_nearly_even() -> None:
    given = members(*[1.0] * 20)
    loads = loads_of(given)
    table = TwoChoices(given, loads, seeded())
    found = Counter(taken(table, loads) for _ in range(20_000))
    assert max(found.values()) - min(found.values()) < 10
    by_chance = counted(AtRandom(given, seeded()), 20_000)
    assert max(by_chance.values()) - min(by_chance.values()) > 40


def test_two_choices_are_two() -> None:
    """Whoever is busiest of all is never the better one; and one alone is picked."""
    given = members(1, 1, 1, load=(0.0, 5.0, 1.0))
    table = TwoChoices(given, loads_of(given, cost=0.0), seeded())
    found = counted(table, 3000)
    assert set(found) == {"a", "c"}
    assert abs(found["a"] - 2000) < 150, "two of three pairs hold it"
    alone = members(1)
    assert TwoChoices(alone, loads_of(alone), seeded()).pick(0) == "r0"


# -- by key ------------------------------------------------------------------------------


def at(key: str) -> int:
    return xxh64_intdigest(key.encode())


def affinity(
    given: Sequence[MemberInfo],
    allowed: Sequence[MemberInfo] | None = None,
    c: float = 1000.0,
    cost: float = 1.0,
) -> tuple[Affinity, Loads]:
    loads = loads_of(given, cost)
    return Affinity(given, given if allowed is None else allowed, loads, c), loads


def owners(table: Affinity) -> dict[str, str]:
    return {key: table.pick(at(key)) for key in KEYS}


def test_a_key_has_the_same_member_wherever_it_is_asked_for() -> None:
    given = members(*[1.0] * 10)
    ours, theirs = owners(affinity(given)[0]), owners(affinity(given)[0])
    assert ours == theirs
    shares = Counter(ours.values())
    assert len(shares) == 10
    assert max(shares.values()) < 1.5 * len(KEYS) / 10
    joined_otherwise = affinity(given[::-1])[0]
    assert owners(joined_otherwise) == ours


def test_weights_are_shares_of_the_keys() -> None:
    found = Counter(owners(affinity(members(1, 2, 5))[0]).values())
    for holder, share in (("r0", 1 / 8), ("r1", 2 / 8), ("r2", 5 / 8)):
        assert abs(found[holder] / len(KEYS) - share) < 0.06


def test_who_may_not_be_picked_gives_its_keys_to_others_and_nobody_else_moves() -> None:
    given = members(*[1.0] * 10)
    before = owners(affinity(given)[0])
    after = owners(affinity(given, given[1:])[0])
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == "r0"}
    heirs = Counter(after[key] for key in moved)
    assert len(heirs) == 9, "all of them"
    left = owners(affinity(given[1:])[0])
    same = sum(after[key] == left[key] for key in KEYS)
    assert same == len(KEYS), "and those who know no more of it agree"


def test_nobody_gets_more_than_its_bounded_share() -> None:
    given = members(1, 1, 2)
    table, loads = affinity(given, c=1.25)
    hot = [at("one key")] * 300
    running: Counter[str] = Counter()
    for number, key in enumerate(hot, 1):
        running[taken(table, loads, key)] += 1
        for name, weight in (("a", 1), ("b", 1), ("c", 2)):
            assert running[name] < 1.25 * weight / 4 * number + 1
    assert len(running) == 3
    fresh, _ = affinity(given, c=1.25)
    home = fresh.pick(at("one key"))
    assert {fresh.pick(at("one key")) for _ in range(9)} == {home}, "no load: no reason"


def test_a_member_that_is_full_is_passed_by() -> None:
    given = members(1, 1, 1)
    home = affinity(given)[0].pick(at("k"))
    capacities: list[float | None] = [
        10.0 if each.holder == home else None for each in given
    ]
    loads = [10.0 if each.holder == home else 9.0 for each in given]
    full = members(1, 1, 1, capacity=capacities, load=loads)
    table, _ = affinity(full)
    assert table.pick(at("k")) != home


def test_when_all_are_full_a_key_stays_where_it_is() -> None:
    given = members(1, 1, 1)
    home = affinity(given)[0].pick(at("k"))
    full = members(1, 1, 1, capacity=(1, 1, 1), load=(7.0, 7.0, 7.0))
    assert affinity(full)[0].pick(at("k")) == home


def test_loads_may_be_fractions() -> None:
    """As of those who report how busy they are, from 0 to 1."""
    given = members(1, 1, load=(0.9, 0.1))
    table, _ = affinity(given, c=1.25, cost=0.001)
    assert {table.pick(at(key)) for key in KEYS[:500]} == {"r1"}


def test_a_sequence_does_not_end() -> None:
    """Picks that are never done only count, however many there are."""
    given = members(1, 2, 3)
    loads = loads_of(given)
    for table in (
        LeastLoaded(given, loads, seeded()),
        TwoChoices(given, loads, seeded()),
        Affinity(given, given, loads, 1.0),
    ):
        found = Counter(
            taken(table, loads, at(KEYS[n % len(KEYS)])) for n in range(6000)
        )
        for (_, one), (_, more) in pairwise(sorted(found.items())):
            assert one < more
