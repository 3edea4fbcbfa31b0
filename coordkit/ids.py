"""
Ids: `Ids` for threads, `AsyncIds` for tasks.

Guaranteed, by one Redis that keeps its data: no id of a name is handed out twice, to
whatever process, thread or task; within one iterator they rise.

Not guaranteed: that there are no gaps.  A block is taken in one question and handed
out here; what is left of it when the process ends, or the answer to that question is
lost, is gone.  Nor that ids of different processes rise in the order of time.

Example::

    numbers = session.ids("invoice-no", block=100)
    number = next(numbers)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ._core.ids import id_blocks
from ._io import fork
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

G = TypeVar("G")


class _Left(Generic[G]):
    """What is left of a block, who may take another, and the last id there was."""

    def __init__(self, guard: Callable[[], G]) -> None:
        self._make_guard = guard
        self.last = 0
        self.after_fork()
        fork.born_again(self)

    def after_fork(self) -> None:
        """In a child process: what is left is the parent's."""
        self.numbers: Iterator[int] = iter(())
        self.guard = self._make_guard()

    def first_of(self, taken: range) -> int:
        """Go on with a new block; return its first."""
        self.last = taken[-1]
        self.numbers = iter(taken)
        return next(self.numbers)


class Ids(OfOneProcess):
    """
    Unique numbers, without end: `next` returns one.  Making it sends nothing.

    Any number of threads may use one.  After a fork the child takes a block of its own.
    """

    def __init__(self, engine: Engine, name: str, block: int, start: int) -> None:
        self._engine = engine
        self._blocks = id_blocks(
            engine.namespace, name, block=block, start=start, timeout=engine.timeout
        )
        self._left = _Left(threading.RLock)  # a signal handler may ask, too

    @property
    def name(self) -> str:
        """What these ids are for."""
        return self._blocks.name

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        left = self._left
        with left.guard:
            if number := next(left.numbers, 0):
                return number
            return left.first_of(self._engine.run(self._blocks.take(left.last)))

    def __repr__(self) -> str:
        return f"<Ids {self.name!r} block={self._blocks.block}>"


class AsyncIds(OfOneProcess):
    """
    Unique numbers, without end: `anext` returns one.  Making it sends nothing.

    Any number of tasks may use one.  After a fork the child takes a block of its own.
    """

    def __init__(self, engine: AsyncEngine, name: str, block: int, start: int) -> None:
        self._engine = engine
        self._blocks = id_blocks(
            engine.namespace, name, block=block, start=start, timeout=engine.timeout
        )
        self._left = _Left(asyncio.Lock)

    @property
    def name(self) -> str:
        """What these ids are for."""
        return self._blocks.name

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        left = self._left
        if number := next(left.numbers, 0):
            return number
        async with left.guard:  # another task may take a block meanwhile
            if number := next(left.numbers, 0):
                return number
            return left.first_of(await self._engine.run(self._blocks.take(left.last)))

    def __repr__(self) -> str:
        return f"<AsyncIds {self.name!r} block={self._blocks.block}>"
