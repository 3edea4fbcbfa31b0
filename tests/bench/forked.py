"""
Processes that a bench tells what to do, and that tell what they saw.

They are forked from multiprocessing's fork server, a process without threads that has
imported everything before: 256 of them are there in a second or two.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

#: One that says nothing for so long, in seconds, is stuck.
PATIENCE = 60.0


class Forked:
    """A process that calls *target* with *args* and its end of a pipe."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        # The second is the program, which every child imports again.
        package = target.__module__.rpartition(".")[0]
        context.set_forkserver_preload([target.__module__, f"{package}.__main__"])
        self._pipe, theirs = context.Pipe()
        self._process: Any = context.Process(
            target=target, args=(*args, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def tell(self, order: Any) -> None:
        """Send it something."""
        self._pipe.send(order)

    def told(self, patience: float = PATIENCE) -> Any:
        """Return what it says next."""
        if not self._pipe.poll(max(patience, 0.0)):
            name = self._process.name
            raise AssertionError(f"{name} is stuck: nothing within {patience:g} s")
        return self._pipe.recv()

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self._process.kill()

    def dismiss(self) -> None:
        """Close the pipe: one at rest ends at this."""
        self._pipe.close()

    def end(self, patience: float = 0.0) -> None:
        """Wait so long for its end, then kill it."""
        self.dismiss()
        self._process.join(patience)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
