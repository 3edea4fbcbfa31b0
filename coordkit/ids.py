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
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from ._core.ids import id_blocks
from ._io import fork
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


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
        self._last = 0
        self.after_fork()
        fork.born_again(self)

    def after_fork(self) -> None:
        """Leave what is left of the block to the parent."""
        self._left: Iterator[int] = iter(())
        self._guard = threading.RLock()  # a signal handler may ask, too

    @property
    def name(self) -> str:
        """What these ids are for."""
        return self._blocks.name

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        with self._guard:
            if number := next(self._left, 0):
                return number
            taken = self._engine.run(self._blocks.take(self._last))
            self._last = taken[-1]
            self._left = iter(taken)
            return next(self._left)

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
        self._last = 0
        self.after_fork()
        fork.born_again(self)

    def after_fork(self) -> None:
        """Leave what is left of the block to the parent."""
        self._left: Iterator[int] = iter(())
        self._guard = asyncio.Lock()

    @property
    def name(self) -> str:
        """What these ids are for."""
        return self._blocks.name

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        if number := next(self._left, 0):
            return number
        async with self._guard:
            if number := next(
                self._left, 0
            ):  # another task has taken a block meanwhile
                return number
            taken = await self._engine.run(self._blocks.take(self._last))
            self._last = taken[-1]
            self._left = iter(taken)
            return next(self._left)

    def __repr__(self) -> str:
        return f"<AsyncIds {self.name!r} block={self._blocks.block}>"
