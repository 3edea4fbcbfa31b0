"""
The ways into a Redis Cluster: whom to ask, and whom instead.

redis-py's own clients for a cluster are not used: they look for the nodes again after
a lost answer, for longer than was asked; the asyncio one cannot follow ASK; and one
node that is silent holds up all.  Here each node has a way of its own, and a question
is sent once: it follows MOVED and ASK, which say that nothing was done.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import count
from threading import Lock
from typing import Any, NamedTuple

from redis.crc import key_slot

from .._core.ops import Call
from ..errors import CoordError, Refused, Unreachable, Unsupported
from .connect import AsyncSource, Node, Source
from .line import Line
from .refusals import Redirected
from .wire import Wire, Wires

#: Redirected twice, the nodes do not agree yet: they are asked again after this, in seconds.
DISAGREED = 0.02
SLOTS = ("CLUSTER", "SLOTS")
#: What one node gets to say who serves what: a round trip far away, and a busy node.
SHARE = 0.2


class _Map:
    """Who serves what, as one node told it.  It may be wrong: then a node says so."""

    def __init__(self) -> None:
        self._last_slots: list[int] = []
        self._served_by: list[Node] = []
        #: whether to ask again before it is relied on
        self.doubted = True
        #: who gave no answer last time
        self.silent: set[Node] = set()

    def owner(self, key: str, where: str) -> Node:
        """Return who serves *key*."""
        slot = key_slot(key.encode())
        at = bisect_left(self._last_slots, slot)
        if at == len(self._last_slots):
            self.doubted = True
            raise Unreachable(f"{where}: slot {slot} is served by nobody", sent=False)
        return self._served_by[at]

    def learn(self, told: Any, asked: Node, source: Source | AsyncSource) -> None:
        """Take in the answer to CLUSTER SLOTS."""
        spans: list[tuple[int, Node]] = []
        for _, last, (host, port, *_) in (span[:3] for span in told):
            # Without a name it is the one that was asked.
            name = host.decode() if host else asked[0]
            spans.append((int(last), source.remapped((name, int(port)))))
        spans.sort()
        self._last_slots = [last for last, _ in spans]
        self._served_by = [node for _, node in spans]
        self.doubted = False
        if spans:
            source.nodes = list(dict.fromkeys(self._served_by))

    def candidates(self, source: Source | AsyncSource) -> list[Node]:
        """Return whom to ask for it, in the order of asking: those by which it was found last."""
        known = random.sample(source.nodes, len(source.nodes))
        found = dict.fromkeys([*known, *source._origin.nodes])
        return sorted(found, key=self.silent.__contains__)

    def note(self, node: Node, *, silent: bool) -> None:
        """Take note of whether *node* answered."""
        if silent:
            self.doubted = True
            self.silent.add(node)
        else:
            self.silent.discard(node)


def _told_off(refusal: Refused, where: str) -> CoordError:
    """Return what it means that a node would not say who serves what."""
    if "cluster support disabled" in str(refusal):
        return Unsupported(f"{where} is no Redis Cluster: connect with redis://")
    return refusal


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.0)


def _spoil(answers: list[Any], places: list[int], problem: CoordError) -> None:
    for i in places:
        answers[i] = problem


def _share(left: float, candidates: int) -> float:
    """Return how long one of several candidates may take to answer."""
    return min(left, max(SHARE, left / candidates))


class _Trip(NamedTuple):
    """What one node is asked: over which wire, and which calls of the trip."""

    node: Node
    wire: Wire
    places: list[int]


class ClusterWires:
    """The way into a cluster for threads."""

    def __init__(self, source: Source, timeout: float) -> None:
        self._source = source
        self._timeout = timeout
        self._map = _Map()
        self._learning = Lock()
        self._nodes: dict[Node, Wires] = {}

    def call(self, call: Call) -> Any:
        """Run a script on the node that has its slot."""
        until = time.monotonic() + call.timeout
        self._know(until)
        node, asking = self._map.owner(call.keys[0], self._source.address), False
        for hop in count():
            if hop > 1:
                time.sleep(DISAGREED)
            asked = call._replace(timeout=_left(until))
            try:
                answer = self._to(node).call(asked, asking=asking)
                self._map.note(node, silent=False)
                return answer
            except Redirected as told:
                node, asking = self._source.remapped(told.node), told.asking
                self._map.doubted = self._map.doubted or not asking
                if _left(until) <= DISAGREED:
                    why = f"{self._source.address}: the nodes do not agree who has it"
                    raise Unreachable(why, sent=False) from told
            except Unreachable:
                self._map.note(node, silent=True)
                raise
        return None

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """
        Run several scripts, each on its node, all at once.

        What went wrong stands in its call's place, no answer too: a node that is
        silent hides nothing that the others say.
        """
        until = time.monotonic() + timeout
        self._know(until)
        answers: list[Any] = [None] * len(calls)
        trips = self._trips(calls, answers, until)
        try:
            for trip in trips:
                self._ask(trip, calls, answers, until)
            for trip in trips:
                self._hear(trip, calls, answers, until)
        finally:
            for trip in trips:
                self._to(trip.node)._give_back(trip.wire)
        for i, answer in enumerate(answers):
            if isinstance(answer, Redirected):
                answers[i] = self._followed(calls[i]._replace(timeout=_left(until)))
        return answers

    def _trips(
        self, calls: Sequence[Call], answers: list[Any], until: float
    ) -> list[_Trip]:
        """Return who is asked what; in *answers* goes what cannot be asked."""
        places: dict[Node, list[int]] = {}
        for i, call in enumerate(calls):
            try:
                owner = self._map.owner(call.keys[0], self._source.address)
            except Unreachable as exc:
                answers[i] = exc
            else:
                places.setdefault(owner, []).append(i)
        trips: list[_Trip] = []
        for node, its in places.items():
            try:
                wire = self._to(node)._take(_left(until))
            except Unreachable as exc:
                _spoil(answers, its, exc)
            else:
                trips.append(_Trip(node, wire, its))
        # Who has a connection first: to make one may take long, and in vain.
        trips.sort(key=lambda t: (t.node in self._map.silent, not t.wire._up))
        return trips

    def _ask(
        self, trip: _Trip, calls: Sequence[Call], answers: list[Any], until: float
    ) -> None:
        try:
            trip.wire.connect(_left(until) / 2)
            trip.wire.send([calls[i] for i in trip.places])
        except CoordError as exc:
            self._map.note(trip.node, silent=True)
            _spoil(answers, trip.places, exc)

    def _hear(
        self, trip: _Trip, calls: Sequence[Call], answers: list[Any], until: float
    ) -> None:
        if answers[trip.places[0]] is not None:
            return  # it could not be asked
        try:
            heard = trip.wire.hear([calls[i] for i in trip.places], _left(until))
        except CoordError as exc:
            self._map.note(trip.node, silent=True)
            _spoil(answers, trip.places, exc)
        else:
            self._map.note(trip.node, silent=False)
            for i, answer in zip(trip.places, heard, strict=True):
                answers[i] = answer

    def _followed(self, call: Call) -> Any:
        try:
            return self.call(call)
        except CoordError as exc:
            return exc

    def command(self, words: Sequence[str], timeout: float) -> Any:
        """Give a command of the server's own to the node that has its first key."""
        self._know(time.monotonic() + timeout)
        node = self._map.owner(words[1], self._source.address)
        return self._to(node).command(words, timeout)

    def _to(self, node: Node) -> Wires:
        known = self._nodes.get(node)
        if known is None:
            made = Wires(self._source.route_to(node), self._timeout)
            known = self._nodes.setdefault(node, made)
        return known

    def _know(self, until: float) -> None:
        """Ask who serves what, if that is in doubt; an old answer is better than none."""
        if not self._map.doubted:
            return
        with self._learning:
            if self._map.doubted:
                self._learn(until)

    def _learn(self, until: float) -> None:
        problem: CoordError = Unreachable(f"{self._source.address} has no node")
        candidates = self._map.candidates(self._source)
        for node in candidates:
            wire = Wire(self._source.route_to(node), self._timeout)
            try:
                told = wire.command(SLOTS, _share(_left(until), len(candidates)))
                self._map.learn(told, node, self._source)
                return
            except Unreachable as exc:
                self._map.note(node, silent=True)
                problem = exc
            except Refused as exc:
                raise _told_off(exc, self._source.address) from exc
            finally:
                wire.close()
        if not self._nodes:
            raise Unreachable(str(problem), sent=False) from problem.__cause__

    def close(self) -> None:
        """Close every connection."""
        for wires in self._nodes.values():
            wires.close()


class AsyncClusterWires:
    """The way into a cluster for tasks."""

    def __init__(self, source: AsyncSource, timeout: float) -> None:
        self._source = source
        self._timeout = timeout
        self._map = _Map()
        self._learning = asyncio.Lock()
        self._nodes: dict[Node, Line] = {}

    async def call(self, call: Call) -> Any:
        """Run a script on the node that has its slot."""
        until = time.monotonic() + call.timeout
        if self._map.doubted:
            await self._know(until)
        node, asking = self._map.owner(call.keys[0], self._source.address), False
        for hop in count():
            if hop > 1:
                await asyncio.sleep(DISAGREED)
            asked = call._replace(timeout=_left(until))
            try:
                answer = await self._to(node).call(asked, asking=asking)
                self._map.note(node, silent=False)
                return answer
            except Redirected as told:
                node, asking = self._source.remapped(told.node), told.asking
                self._map.doubted = self._map.doubted or not asking
                if _left(until) <= DISAGREED:
                    why = f"{self._source.address}: the nodes do not agree who has it"
                    raise Unreachable(why, sent=False) from told
            except Unreachable:
                self._map.note(node, silent=True)
                raise
        return None

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """
        Run several scripts, each on its node, all at once.

        What went wrong stands in its call's place, no answer too: a node that is
        silent hides nothing that the others say.
        """
        until = time.monotonic() + timeout
        await self._know(until)
        answers = await asyncio.gather(
            *(self.call(call._replace(timeout=_left(until))) for call in calls),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, CoordError):
                raise answer
        return list(answers)

    async def command(self, words: Sequence[str], timeout: float) -> Any:
        """Give a command of the server's own to the node that has its first key."""
        await self._know(time.monotonic() + timeout)
        node = self._map.owner(words[1], self._source.address)
        return await self._to(node).command(words, timeout)

    def _to(self, node: Node) -> Line:
        known = self._nodes.get(node)
        if known is None:
            known = self._nodes[node] = Line(self._source.route_to(node), self._timeout)
        return known

    async def _know(self, until: float) -> None:
        """Ask who serves what, if that is in doubt; an old answer is better than none."""
        async with self._learning:
            if self._map.doubted:
                await self._learn(until)

    async def _learn(self, until: float) -> None:
        problem: CoordError = Unreachable(f"{self._source.address} has no node")
        candidates = self._map.candidates(self._source)
        for node in candidates:
            line = Line(self._source.route_to(node), self._timeout)
            try:
                told = await line.command(SLOTS, _share(_left(until), len(candidates)))
                self._map.learn(told, node, self._source)
                return
            except Unreachable as exc:
                self._map.note(node, silent=True)
                problem = exc
            except Refused as exc:
                raise _told_off(exc, self._source.address) from exc
            finally:
                await line.close()
        if not self._nodes:
            raise Unreachable(str(problem), sent=False) from problem.__cause__

    async def close(self) -> None:
        """Close every connection."""
        for line in self._nodes.values():
            await line.close()
