"""Several counters at once: added to in one trip, and listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from ..errors import CoordError, KeyConflict, NotAllAdded, Unreachable
from .asking import ask, insist_all
from .counter import (
    CounterInfo,
    Part,
    Place,
    Tally,
    add_call,
    counter_info,
    first_place,
    refusal,
    verdicts,
)
from .fence import token_number
from .inspect import listed
from .keys import bucket_of, counter_keys, lasting_keys
from .lanes import Lanes
from .ops import Call, Op, Pipeline
from .reply import number
from .whole import LEAST, MOST, whole

Item: TypeAlias = tuple[Part, Place]

#: A call adds to so many counters at most: meanwhile the server does nothing else.
MOST_AT_ONCE = 100


class Counters:
    """All counters of a namespace.  *lanes*, *timeout* and *scatter* as for a `Tally`."""

    def __init__(
        self, namespace: str, *, lanes: Lanes, timeout: float, scatter: bool
    ) -> None:
        self._namespace = namespace
        self._lanes = lanes
        self._timeout = timeout
        self._scatter = scatter

    def tally(self, name: str, shards: int | None = None) -> Tally:
        """Return the counter of that name."""
        return Tally(
            self._namespace,
            name,
            shards,
            lanes=self._lanes,
            timeout=self._timeout,
            scatter=self._scatter,
        )

    def listing(self) -> Op[list[CounterInfo]]:
        """Return every counter, by name.  Reads the indexes: no SCAN."""
        keys = lasting_keys(self._namespace)
        names = yield from listed(keys, "counter:", self._timeout)
        calls = tuple(
            Call("counter_get", (its.counter,), (), self._timeout)
            for its in (counter_keys(self._namespace, name) for name in names)
        )
        if not calls:
            return []
        reply = yield from ask(Pipeline(calls, self._timeout))
        found: list[CounterInfo] = []
        for name, told in zip(names, reply.value, strict=True):
            if isinstance(told, KeyConflict):
                continue  # a foreign value at this key: it is no counter, and hides no other
            if isinstance(told, CoordError):
                raise told
            with suppress(KeyConflict):
                info = counter_info(name, told)
                if info.shards > 1:
                    info = yield from self.tally(name).info()
                if told[0] or info.shards > 1:  # else it is gone meanwhile
                    found.append(info)
        return found

    def add_all(
        self, amounts: Mapping[str, int], token: int | None
    ) -> Op[dict[str, int]]:
        """Add to several counters in one trip; return their new values by name."""
        if not isinstance(amounts, Mapping):
            raise TypeError(
                f"amounts is a mapping of names to ints, not {type(amounts).__name__}"
            )
        items = [
            (Part(name, _amount(name, amount)), first_place(self._namespace, name))
            for name, amount in amounts.items()
        ]
        if token is not None:
            token_number(token)
        if not items:
            raise ValueError("amounts is empty: name at least one counter")
        return self._add_all(items, token)

    def _add_all(self, items: Sequence[Item], token: int | None) -> Op[dict[str, int]]:
        trips = self._trips(items)
        lanes = [self._lanes.take() for _ in range(max(n for n, _ in trips) + 1)]
        try:
            answers = yield from insist_all(
                [add_call(its, token, lanes[n], self._timeout) for n, its in trips]
            )
        finally:
            for lane in lanes:
                self._lanes.give(lane)
        outcomes: dict[str, int | CoordError | None] = {}
        for (_, its), answer in zip(trips, answers, strict=True):
            told = zip(its, _outcomes(its, token, answer), strict=True)
            outcomes |= {part.name: outcome for (part, _), outcome in told}
        for part, _ in items:
            if outcomes[part.name] is None:
                outcomes[part.name] = yield from self._alone(part, token)
        return _all_or_told({part.name: outcomes[part.name] for part, _ in items})

    def _trips(self, items: Sequence[Item]) -> list[tuple[int, Sequence[Item]]]:
        """
        Return what goes into one call each, and on which of our lanes.

        The server remembers one request of a lane in each bucket.
        """
        groups: dict[int, Sequence[Item]] = {0: items}
        if self._scatter:
            by_bucket: defaultdict[int, list[Item]] = defaultdict(list)
            for item in items:
                by_bucket[bucket_of(item[0].name)].append(item)
            groups = dict(by_bucket)
        return [
            (n, its[first : first + MOST_AT_ONCE])
            for its in groups.values()
            for n, first in enumerate(range(0, len(its), MOST_AT_ONCE))
        ]

    def _alone(self, part: Part, token: int | None) -> Op[int | CoordError]:
        """Add to a counter that turned out to have shards."""
        try:
            return (yield from self.tally(part.name).add(part.amount, token=token))
        except CoordError as error:
            return error


def _amount(name: str, amount: int) -> int:
    if type(amount) is int and LEAST <= amount <= MOST:
        return amount
    return whole(amount, f"the amount for {name!r:.80}")


def _outcomes(
    items: Sequence[Item], token: int | None, answer: Any
) -> Iterable[int | CoordError | None]:
    """Return what became of each item of a call; None: it has shards."""
    count = len(items)
    if isinstance(answer, CoordError):
        return [answer] * count
    if answer[::2] == [b"added"] * count:
        return map(number, answer[1::2])
    return [
        _outcome(part, token, *told)
        for (part, _), told in zip(items, verdicts(answer, count), strict=True)
    ]


def _outcome(
    part: Part, token: int | None, verdict: str, told: int
) -> int | CoordError | None:
    if verdict == "added":
        return told
    return None if verdict == "shards" else refusal(part, token, verdict, told)


def _all_or_told(outcomes: Mapping[str, int | CoordError | None]) -> dict[str, int]:
    """Return the new values, if there is one of each; else raise what tells of the others."""
    added = {name: n for name, n in outcomes.items() if isinstance(n, int)}
    failed = {name: e for name, e in outcomes.items() if isinstance(e, CoordError)}
    if not failed:
        return added
    if not added and all(isinstance(error, Unreachable) for error in failed.values()):
        raise next(iter(failed.values()))
    raise NotAllAdded(added, failed)
