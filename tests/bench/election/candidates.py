"""
Processes that stand for election, lead when they are elected, and are killed.

They are forked from multiprocessing's fork server, as those of `bench.lock.workers`.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from .contestants import Maker

#: Who says nothing for so long is stuck: seconds.
PATIENCE = 60.0


class Process:
    """A forked process that runs *target* with *args* and a pipe, and tells."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, f"{__package__}.__main__"])
        self._pipe, theirs = context.Pipe()
        self._process: Any = context.Process(
            target=target, args=(*args, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def tells(self, patience: float = PATIENCE) -> Any:
        """Return what it says next."""
        if not self._pipe.poll(patience):
            raise AssertionError(f"nothing was told within {patience:g} s")
        return self._pipe.recv()

    def kill(self) -> int:
        """Kill it (SIGKILL); return the instant right before, in ns of CLOCK_MONOTONIC."""
        instant = time.monotonic_ns()
        self._process.kill()
        return instant

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


class Candidate(Process):
    """It says when it is about to wait, and when it acts as the leader."""

    def __init__(self, maker: Maker, url: str, name: str, ttl: int) -> None:
        super().__init__(_stand, maker, url, name, ttl)
        self.tells()

    def acting(self) -> int:
        """Wait until it leads; return since when, in ns of CLOCK_MONOTONIC."""
        since: int = self.tells()
        return since


def _stand(
    maker: Maker, url: str, name: str, ttl: int, pipe: Connection[Any, Any]
) -> None:
    contestant = maker(url, name, ttl)
    pipe.send("waits")
    contestant.take()
    pipe.send(time.monotonic_ns())
    contestant.keep()
