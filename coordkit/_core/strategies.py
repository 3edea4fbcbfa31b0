"""
How one of several members is picked: a table for each strategy, made of who may be picked.

All picks are local, and take the same time however many members there are: what can be
worked out beforehand is, when the group changes.
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate
from math import fsum, gcd

from xxhash import xxh64_intdigest

from .members import MemberInfo

#: Returns a random number from 0 to below 1.
Draw = Callable[[], float]

#: A weighted sequence begins at one of so many places: else all clients that saw the same
#: change would pick the same members, at the same time.
BEGINNINGS = 64
#: Points of a member of mean weight on the ring of a strategy: what one has too many keys
#: by, 1 in √64 or so, the bound on its load takes away.
POINTS = 64
#: A point is the first 33 bits of a hash, and the index of its member in 20 bits more: so
#: that it is one float, exactly, and many of them are sorted in a moment.
FLOAT_BITS, INDEX_BITS = 53, 20
INDEX = (1 << INDEX_BITS) - 1
#: A heap of this many times its members holds mostly what is true no longer.
STALE = 4


class Loads:
    """
    How busy members are: what they have reported, and what was given to them since.

    A pick counts as *cost*, until it is done or the member reports another load: that has
    it in it.
    """

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self._members: Mapping[str, MemberInfo] = {}
        self._taken: dict[str, float] = {}
        #: whether picks are ever done, as far as is told
        self._end = False

    def look(self, members: Mapping[str, MemberInfo]) -> None:
        """Take in what they have reported."""
        before, self._members = self._members, members
        for holder in [*self._taken]:
            if holder not in members or members[holder].load != before[holder].load:
                del self._taken[holder]

    def take(self, holder: str) -> None:
        """Count a pick."""
        self._taken[holder] = self._taken.get(holder, 0.0) + self.cost

    def done(self, holder: str) -> None:
        """Count it no longer."""
        self._end = True
        left = self._taken.get(holder, 0.0) - self.cost
        self._taken[holder] = max(0.0, left)

    def others(self) -> None:
        """
        Take note that others than before may be picked.

        Where nobody says when picks are done, counting begins anew for all: else one that
        was not picked for a while would get every pick, until it has caught up.
        """
        if not self._end:
            self._taken.clear()

    def of(self, holder: str) -> float:
        """Return how busy it is, in what it has reported."""
        return self._members[holder].load + self._taken.get(holder, 0.0)

    def share(self, holder: str) -> float:
        """Return the same, to what it can do; to its weight, if it has not said that."""
        member = self._members[holder]
        return self.of(holder) / (member.capacity or member.weight)


class Table:
    """Picks among members; *at* is a number that means something to some strategies."""

    def pick(self, at: int) -> str:
        """Return the holder of the one that is picked."""
        raise NotImplementedError

    def changed(self, holder: str) -> None:
        """Take note that its load is another now."""


class AtRandom(Table):
    """Each with a probability in proportion to its weight."""

    def __init__(self, members: Sequence[MemberInfo], draw: Draw) -> None:
        self._holders = [each.holder for each in members]
        self._ends = [*accumulate(each.weight for each in members)]
        self._draw = draw

    def pick(self, at: int) -> str:  # noqa: ARG002 - means nothing here
        drawn = self._draw() * self._ends[-1]
        return self._holders[bisect(self._ends, drawn, hi=len(self._ends) - 1)]


class InTurn(Table):
    """One after another, in the order in which they joined; *at* counts turns."""

    def __init__(self, members: Sequence[MemberInfo]) -> None:
        self._holders = [each.holder for each in members]

    def pick(self, at: int) -> str:
        return self._holders[at % len(self._holders)]


class Smooth(Table):
    """
    Each as often as its weight says, and spread evenly: smooth weighted round robin.

    The algorithm of nginx: every pick, each gains its weight; who has most is picked, and
    loses the sum of all weights.  Of those of equal weight, who was picked least has
    most: so only one of each weight is compared.
    """

    def __init__(self, members: Sequence[MemberInfo], draw: Draw) -> None:
        self._holders = [each.holder for each in members]
        weights = _whole([each.weight for each in members])
        lines: dict[int, deque[int]] = {}
        for index, weight in enumerate(weights):
            lines.setdefault(weight, deque()).append(index)
        for line in lines.values():
            line.rotate(int(draw() * len(line)))
        self._lines = [*lines.items()]
        self._sum = sum(weights)
        self._picked = [0] * len(weights)
        self._picks = 0
        for _ in range(int(draw() * min(len(weights), BEGINNINGS))):
            self.pick(0)

    def pick(self, at: int) -> str:  # noqa: ARG002 - means nothing here
        if self._picks == self._sum:  # all have had what is theirs
            self._picks, self._picked = 0, [0] * len(self._picked)
        self._picks += 1
        picks, picked, all_ = self._picks, self._picked, self._sum
        # Of two that have as much, the one that joined first, as in nginx's list.
        _, _, line = max(
            (picks * weight - picked[line[0]] * all_, -line[0], line)
            for weight, line in self._lines
        )
        index = line[0]
        line.rotate(-1)
        picked[index] += 1
        return self._holders[index]


def _whole(weights: Sequence[float]) -> list[int]:
    """Return whole numbers that are to each other as these weights, exactly."""
    ratios = [weight.as_integer_ratio() for weight in weights]
    scale = max(below for _, below in ratios)  # all are powers of two
    whole = [above * (scale // below) for above, below in ratios]
    divisor = gcd(*whole)
    return [weight // divisor for weight in whole]


class LeastLoaded(Table):
    """The one whose load is the least part of its capacity; of several, in turn."""

    def __init__(self, members: Sequence[MemberInfo], loads: Loads, draw: Draw) -> None:
        self._loads = loads
        #: when the load of each was another last: of equal ones the first is next
        self._turns = {each.holder: draw() for each in members}
        self._last = 1
        self._fill()

    def _fill(self) -> None:
        share, turns = self._loads.share, self._turns
        self._heap = [(share(holder), turn, holder) for holder, turn in turns.items()]
        heapify(self._heap)

    def pick(self, at: int) -> str:  # noqa: ARG002 - means nothing here
        heap, turns = self._heap, self._turns
        while heap[0][1] != turns[heap[0][2]]:
            heappop(heap)  # true no longer; what is true was added
        return heap[0][2]

    def changed(self, holder: str) -> None:
        if holder not in self._turns:
            return
        self._last += 1
        self._turns[holder] = self._last
        heappush(self._heap, (self._loads.share(holder), self._last, holder))
        if len(self._heap) > STALE * (len(self._turns) + STALE):
            self._fill()


class TwoChoices(Table):
    """
    The less loaded of two that are drawn at random.

    Nearly as even as the least loaded of all, and much better than that where loads are
    old news (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    """

    def __init__(self, members: Sequence[MemberInfo], loads: Loads, draw: Draw) -> None:
        self._holders = [each.holder for each in members]
        self._loads = loads
        self._draw = draw

    def pick(self, at: int) -> str:  # noqa: ARG002 - means nothing here
        holders, share = self._holders, self._loads.share
        if len(holders) == 1:
            return holders[0]
        first = int(self._draw() * len(holders))
        second = int(self._draw() * (len(holders) - 1))
        one, other = holders[first], holders[second + (second >= first)]
        return one if share(one) <= share(other) else other


class Affinity(Table):
    """
    The same one for the same key, unless it has more than *c* times its share of all load.

    Then the next one on the ring of their names, as in `_core.ring_load`; *at* is the hash
    of the key.  All clients that know the same members have the same ring.
    """

    def __init__(
        self,
        candidates: Sequence[MemberInfo],
        members: Sequence[MemberInfo],
        loads: Loads,
        c: float,
    ) -> None:
        self._points = _drawn(_points_of(candidates))
        allowed = {each.holder for each in members}
        self._holders = [
            each.holder if each.holder in allowed else None for each in candidates
        ]
        whole = fsum(each.weight for each in members)
        self._bounds = {each.holder: c * each.weight / whole for each in members}
        self._capacities = {
            each.holder: math.inf if each.capacity is None else each.capacity
            for each in members
        }
        self._loads = loads
        self._load = {holder: loads.of(holder) for holder in allowed}
        self._sum = fsum(self._load.values())

    def pick(self, at: int) -> str:
        points = self._points
        begin = bisect_left(points, _point(at)) - len(points)  # below 0: from its end
        first = self._holders[int(points[begin]) & INDEX]
        if first is not None and self._has_room(first):  # nearly always
            return first
        met: dict[str, None] = {}
        for n in range(begin, begin + len(points)):
            holder = self._holders[int(points[n]) & INDEX]
            if holder is None or holder in met:
                continue
            if self._has_room(holder):
                return holder
            met[holder] = None
            if len(met) == len(self._load):
                break
        # Capacities may be such that nobody's fair share has room: then those alone count.
        free = (h for h in met if self._load[h] < self._capacities[h])
        return next(free, next(iter(met)))

    def _has_room(self, holder: str) -> bool:
        load, most = self._load[holder], self._sum + self._loads.cost
        return load < self._bounds[holder] * most and load < self._capacities[holder]

    def changed(self, holder: str) -> None:
        if holder in self._load:
            load = self._loads.of(holder)
            self._sum += load - self._load[holder]
            self._load[holder] = load


def _points_of(members: Sequence[MemberInfo]) -> tuple[tuple[str, int], ...]:
    """Return how many points each has: its weight to the mean."""
    mean = fsum(each.weight for each in members) / len(members)
    return tuple(
        (each.identity, max(1, round(POINTS * each.weight / mean))) for each in members
    )


def _point(hash_: int) -> float:
    """Return where a hash falls."""
    return float(hash_ >> (64 - FLOAT_BITS) & ~INDEX)


@lru_cache(maxsize=4)
def _drawn(counts: tuple[tuple[str, int], ...]) -> list[float]:
    """Return the points of all, each with the index of whose it is, in order."""
    found: list[float] = []
    for index, (identity, count) in enumerate(counts):
        found += [point + index for point in _points(identity, count)]
    found.sort()  # what each has is in order already: so that is quick
    return found


@lru_cache(maxsize=4096)
def _points(identity: str, count: int) -> list[float]:
    """Return the points of one: point i is the XXH64 of ``"<identity>|<i>"``."""
    hashes = (xxh64_intdigest(f"{identity}|{i}".encode()) for i in range(count))
    return sorted(map(_point, hashes))
