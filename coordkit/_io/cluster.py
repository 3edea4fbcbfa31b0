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
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from redis.crc import key_slot

from .._core.ops import Call
from ..errors import CoordError, Refused, Unreachable, Unsupported
from .connect import AsyncSource, Node, Source
from .line import Line
from .refusals import Redirected
from .wire import Wire, Wires

#: A slot that moves is served here, there, or by whoever has it by then: no more.
HOPS = 5
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
        return list(dict.fromkeys([*known, *source._origin.nodes]))


def _told_off(refusal: Refused, where: str) -> CoordError:
    """Return what it means that a node would not say who serves what."""
    if "cluster support disabled" in str(refusal):
        return Unsupported(f"{where} is no Redis Cluster: connect with redis://")
    return refusal


def _in_vain(where: str) -> Unreachable:
    return Unreachable(
        f"{where}: the slot moves faster than it is followed", sent=False
    )


def _share(left: float, candidates: int) -> float:
    """Return how long one of several candidates may take to answer."""
    return min(left, max(SHARE, left / candidates))


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
        for _ in range(HOPS):
            left = max(until - time.monotonic(), 0.0)
            try:
                return self._to(node).call(call._replace(timeout=left), asking=asking)
            except Redirected as told:
                node, asking = self._source.remapped(told.node), told.asking
                self._map.doubted = self._map.doubted or not asking
            except Unreachable:
                self._map.doubted = True
                raise
        raise _in_vain(self._source.address)

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """
        Run several scripts, each on its node, all at once.

        What went wrong stands in its call's place, no answer too: a node that is
        silent hides nothing that the others say.
        """
        until = time.monotonic() + timeout
        self._know(until)
        answers: list[Any] = [None] * len(calls)
        asked: list[tuple[Wires, Wire, list[int]]] = []
        try:
            for node, places in self._by_node(calls, answers):
                left = max(until - time.monotonic(), 0.0)
                try:
                    wires = self._to(node)
                    wire = wires._take(left)
                    asked.append((wires, wire, places))
                    wire.connect(left)
                    wire.send([calls[i] for i in places])
                except CoordError as exc:
                    self._spoil(answers, places, exc)
            for _, wire, places in asked:
                if answers[places[0]] is None:
                    left = max(until - time.monotonic(), 0.0)
                    try:
                        heard = wire.hear([calls[i] for i in places], left)
                        for i, answer in zip(places, heard, strict=True):
                            answers[i] = answer
                    except CoordError as exc:
                        self._spoil(answers, places, exc)
        finally:
            for wires, wire, _ in asked:
                wires._give_back(wire)
        for i, answer in enumerate(answers):
            if isinstance(answer, Redirected):
                left = max(until - time.monotonic(), 0.0)
                answers[i] = self._followed(calls[i]._replace(timeout=left))
        return answers

    def _by_node(
        self, calls: Sequence[Call], answers: list[Any]
    ) -> Iterator[tuple[Node, list[int]]]:
        """Return the places of the calls, by node; in *answers* goes what has none."""
        places: dict[Node, list[int]] = {}
        for i, call in enumerate(calls):
            try:
                owner = self._map.owner(call.keys[0], self._source.address)
            except Unreachable as exc:
                answers[i] = exc
            else:
                places.setdefault(owner, []).append(i)
        return iter(places.items())

    def _spoil(self, answers: list[Any], places: list[int], exc: CoordError) -> None:
        self._map.doubted = True
        for i in places:
            answers[i] = exc

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
            left = max(until - time.monotonic(), 0.0)
            wire = Wire(self._source.route_to(node), self._timeout)
            try:
                told = wire.command(SLOTS, _share(left, len(candidates)))
                self._map.learn(told, node, self._source)
                return
            except Unreachable as exc:
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
        for _ in range(HOPS):
            left = max(until - time.monotonic(), 0.0)
            asked = call._replace(timeout=left)
            try:
                return await self._to(node).call(asked, asking=asking)
            except Redirected as told:
                node, asking = self._source.remapped(told.node), told.asking
                self._map.doubted = self._map.doubted or not asking
            except Unreachable:
                self._map.doubted = True
                raise
        raise _in_vain(self._source.address)

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """
        Run several scripts, each on its node, all at once.

        What went wrong stands in its call's place, no answer too: a node that is
        silent hides nothing that the others say.
        """
        until = time.monotonic() + timeout
        await self._know(until)
        left = max(until - time.monotonic(), 0.0)
        answers = await asyncio.gather(
            *(self.call(call._replace(timeout=left)) for call in calls),
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
            left = max(until - time.monotonic(), 0.0)
            line = Line(self._source.route_to(node), self._timeout)
            try:
                told = await line.command(SLOTS, _share(left, len(candidates)))
                self._map.learn(told, node, self._source)
                return
            except Unreachable as exc:
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
