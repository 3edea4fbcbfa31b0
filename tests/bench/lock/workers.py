"""Processes that hand one name round, at the word of command of the bench."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from ..forked import PATIENCE, Forked
from .contestants import Contestant
from .grants import Grant

#: Makes somebody who takes and gives a name, at a server's URL; it stands in a module.
Maker = Callable[[str, str], Contestant]
NAME = "bench:handover"
#: How long the word to start takes to reach all: seconds, and seconds for each.
_HEADSTART = (0.05, 0.001)


class Turn(NamedTuple):
    """An order: be this contestant from the one instant to the other, in nanoseconds."""

    contestant: str
    start: int
    end: int


class Workers:
    """So many processes, each a client of its own; *urls* are dealt out to them."""

    def __init__(self, urls: Sequence[str], number: int) -> None:
        self._workers = [
            Forked(_work, urls[index % len(urls)], index) for index in range(number)
        ]

    def open(self, makers: Mapping[str, Maker]) -> None:
        """Have every worker make ready to be each of them."""
        for order in makers.items():
            for worker in self._workers:
                worker.tell(order)
            self._answers()

    def turn(
        self,
        contestant: str,
        seconds: float,
        meanwhile: Callable[[Turn], None] | None = None,
    ) -> tuple[Turn, list[Grant]]:
        """
        Return the turn and all its grants, when every worker is at rest.

        *meanwhile* is called when the turn is announced, before its start.
        """
        fixed, each = _HEADSTART
        start = time.monotonic_ns() + int((fixed + each * len(self._workers)) * 1e9)
        turn = Turn(contestant, start, start + int(seconds * 1e9))
        for worker in self._workers:
            worker.tell(turn)
        if meanwhile is not None:
            meanwhile(turn)
        grants = [Grant(*grant) for told in self._answers() for grant in told]
        return turn, grants

    def _answers(self) -> list[Any]:
        until = time.monotonic() + PATIENCE
        return [worker.told(until - time.monotonic()) for worker in self._workers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end(0.0 if error else 5.0)


def _work(url: str, index: int, pipe: Connection[Any, Any]) -> None:
    """Obey until the pipe ends."""
    opened: dict[str, Contestant] = {}
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            break
        if isinstance(order, Turn):
            pipe.send(_take_part(opened[order.contestant], order, index))
            continue
        name, maker = order
        opened[name] = maker(url, NAME)
        pipe.send(name)
    for contestant in opened.values():
        contestant.close()


def _take_part(
    contestant: Contestant, turn: Turn, index: int
) -> list[tuple[int, int, int, int]]:
    """Take and give from start to end; who waits at the end is given it once more."""
    take, give, now = contestant.take, contestant.give, time.monotonic_ns
    grants: list[tuple[int, int, int, int]] = []
    time.sleep(max(turn.start - now(), 0) / 1e9)
    given = 0
    while given < turn.end:
        token = take()
        taken = now()
        given = now()
        give()
        grants.append((taken, given, token, index))
    return grants
