"""
Which node owns which slot.

*Balanced*: because a ring is stored, a node need not own what its name is hashed to.
Node i owns S·wᵢ slots (wᵢ: its weight to the sum of all), rounded by the largest
remainder, at least one; a change moves the fewest slots that reach this, and what
leaves one node is spread over all that need more.

*Hashed*: 160 points a node, from its name alone (Karger et al., "Consistent Hashing
and Random Trees", 1997), for rings that must be derived again without their data.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat
from math import fsum

from xxhash import xxh64_intdigest

from .ring_node import Node
from .ring_slot import scattered, shift_of

MODES = ("balanced", "hashed")
#: The owner of a slot that no node owns: in a ring without nodes.
NOBODY = 0xFFFF
#: The owner of a slot whose node is no node any more, while a change is made up.
GONE = 0xFFFE
#: Points of a node of weight 1; the number that ketama has made usual.
POINTS = 160
#: More points of one node, in a hashed ring, would only cost time.
MOST_POINTS = 100 * POINTS


def aims(weights: Sequence[float], slots: int, have: Sequence[int]) -> list[int]:
    """
    Return how many of *slots* each node should own; one of weight 0 none.

    Its quota rounded down or up, at least one.  Who is rounded up: first whoever has
    more than the lower number already, for that moves less, then by largest remainder.
    """
    whole = [i for i, weight in enumerate(weights) if weight > 0]
    if len(whole) > slots:
        raise ValueError(f"a ring of {slots} slots cannot have {len(whole)} nodes")
    wanted, left = [0] * len(weights), slots
    while True:
        total = fsum(weights[i] for i in whole)
        small = {i for i in whole if left * weights[i] / total < 1}
        for i in small:
            wanted[i] = 1
        left -= len(small)
        whole = [i for i in whole if i not in small]
        if not small:
            break
    quotas = {i: left * weights[i] / total for i in whole}
    for i, quota in quotas.items():
        wanted[i] = int(quota)
    order = sorted(
        whole, key=lambda i: (have[i] <= wanted[i], wanted[i] - quotas[i], i)
    )
    for i in order[: left - sum(int(quota) for quota in quotas.values())]:
        wanted[i] += 1
    return wanted


def balanced(owners: array[int], weights: Sequence[float]) -> array[int]:
    """Return who owns each slot then; *owners* are indexes into *weights*, or no node's."""
    slots = len(owners)
    if not any(weights):
        return array("H", repeat(NOBODY, slots))
    have = counts(owners)
    wanted = aims(weights, slots, have)
    # What each must give, by index; and nobody gives all it has.
    excess = [max(0, has - want) for has, want in zip(have, wanted, strict=False)]
    excess += have[len(wanted) :]
    needy = _in_turns([max(0, w - h) for w, h in zip(wanted, have, strict=False)])
    new, left = owners[:], sum(excess)
    given: dict[int, list[int]] = {}
    for slot in scattered(slots):
        if not left:
            break
        owner = owners[slot]
        if excess[owner]:
            excess[owner] -= 1
            left -= 1
            given.setdefault(owner, []).append(slot)
    # Giver by giver: so that all who need more get of each.
    for owner in sorted(given):
        for slot in given[owner]:
            new[slot] = next(needy)
    return new


def _in_turns(needs: list[int]) -> Iterator[int]:
    """Yield who is next to get a slot, each as often as it needs."""
    takers = [i for i, need in enumerate(needs) if need]
    while takers:
        yield from takers
        for i in takers:
            needs[i] -= 1
        takers = [i for i in takers if needs[i]]


def counts(owners: array[int]) -> list[int]:
    """Return how many slots each index owns, up to that of `NOBODY`."""
    have = [0] * (NOBODY + 1)
    for owner in owners:
        have[owner] += 1
    return have


def points_of(name: str, weight: float) -> int:
    """Return how many points a node has in a hashed ring: 160 times its weight."""
    number = max(1, round(POINTS * weight))
    if number > MOST_POINTS:
        raise ValueError(
            f"weight={weight:g} of {name!r}: in a hashed ring a node has {POINTS} points "
            f"for each 1 of weight, and at most {MOST_POINTS}"
        )
    return number


def hashed(nodes: Sequence[Node], slots: int) -> array[int]:
    """
    Return who owns each slot of a ring that is derived from names.

    Point i of a node is the XXH64 of ``"<name>|<i>"``.  A slot belongs to the first
    point at or above the hash it begins with, after the last to the first; of equal
    points to the node whose name sorts first.
    """
    points = sorted(
        (xxh64_intdigest(f"{node.name}|{i}".encode()), index)
        for index, node in enumerate(nodes)
        if node.pull
        for i in range(points_of(node.name, node.weight))
    )
    if not points:
        return array("H", repeat(NOBODY, slots))
    shift, at = shift_of(slots), 0
    owners = array("H")
    for begin in range(0, slots << shift, 1 << shift):
        while at < len(points) and points[at][0] < begin:
            at += 1
        owners.append(points[at % len(points)][1])
    return owners
