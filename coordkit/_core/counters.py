"""Several counters at once: added to in one trip, and listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..errors import CoordError, KeyConflict, NotAllAdded, Unreachable
from .asking import ask, insist_all
from .counter import (
    CounterInfo,
    Part,
    Tally,
    add_call,
    counter_info,
    refusal,
    verdicts,
)
from .fence import token_number
from .inspect import listed
from .keys import bucket_of, check_name, counter_keys, lasting_keys
from .lanes import Lanes
from .ops import Call, Op, Pipeline
from .whole import whole

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
        parts = [
            Part(
                check_name(name),
                counter_keys(self._namespace, name),
                whole(amount, f"the amount for {name!r:.80}"),
                f"counter:{name}",
            )
            for name, amount in amounts.items()
        ]
        if token is not None:
            token_number(token)
        if not parts:
            raise ValueError("amounts is empty: name at least one counter")
        return self._add_all(parts, token)

    def _add_all(self, parts: Sequence[Part], token: int | None) -> Op[dict[str, int]]:
        trips = self._trips(parts)
        lanes = [self._lanes.take() for _ in range(max(n for n, _ in trips) + 1)]
        try:
            answers = yield from insist_all(
                [add_call(its, token, lanes[n], self._timeout) for n, its in trips]
            )
        finally:
            for lane in lanes:
                self._lanes.give(lane)
        outcomes: dict[str, int | CoordError] = {}
        for (_, its), answer in zip(trips, answers, strict=True):
            for part, told in zip(its, _outcomes(its, token, answer), strict=True):
                alone = self._alone(part, token)
                outcomes[part.name] = (yield from alone) if told is None else told
        return _all_or_told({part.name: outcomes[part.name] for part in parts})

    def _trips(self, parts: Sequence[Part]) -> list[tuple[int, Sequence[Part]]]:
        """
        Return what goes into one call each, and on which of our lanes.

        The server remembers one request of a lane in each bucket.
        """
        groups: dict[int, list[Part]] = {}
        for part in parts:
            bucket = bucket_of(part.name) if self._scatter else 0
            groups.setdefault(bucket, []).append(part)
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


def _outcomes(
    parts: Sequence[Part], token: int | None, answer: Any
) -> Iterator[int | CoordError | None]:
    """Yield what became of each part of a call; None: it has shards."""
    if isinstance(answer, CoordError):
        yield from (answer for _ in parts)
        return
    for part, (verdict, told) in zip(parts, verdicts(parts, answer), strict=True):
        if verdict == "added":
            yield told
        else:
            yield None if verdict == "shards" else refusal(part, token, verdict, told)


def _all_or_told(outcomes: Mapping[str, int | CoordError]) -> dict[str, int]:
    """Return the new values, if there is one of each; else raise what tells of the others."""
    added = {name: n for name, n in outcomes.items() if isinstance(n, int)}
    failed = {name: e for name, e in outcomes.items() if isinstance(e, CoordError)}
    if not failed:
        return added
    if not added and all(isinstance(error, Unreachable) for error in failed.values()):
        raise next(iter(failed.values()))
    raise NotAllAdded(added, failed)
