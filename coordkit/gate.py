"""
The gate: the check of a fence in memory, for a server that receives tokens.

Guaranteed: once a token was admitted, every lower one is refused; and who enters with
a token waits until all who entered with lower ones have left, so that what they write
comes in the order of tokens.  Threads and tasks, of any number of loops, may use one
gate together.

Not guaranteed: anything beyond this process.  A gate that is made anew has seen
nothing, unless it is told: keep what it has seen where the data are.

Example::

    gate = Gate("ledger", seen=stored.token)

    def put(body, token):                        # in a thread
        with gate.admit(token):                  # StaleToken: answer 409
            stored.write(body, token)

    async def put_async(body, token):            # in a task
        async with gate.admit(token):
            await stored.write_async(body, token)
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from ._core.fence import LARGEST_TOKEN, token_number
from ._core.keys import check_name
from ._core.span import limit_seconds
from ._core.whole import whole
from ._io.fork import OfOneProcess
from .errors import LockTimeout, StaleToken


class Gate(OfOneProcess):
    """Checks the tokens that come to one resource of this process."""

    def __init__(self, name: str = "gate", *, seen: int = 0) -> None:
        self.name = check_name(name)
        self._seen = whole(seen, "seen", least=0, most=LARGEST_TOKEN)
        self._guard = threading.Lock()
        #: how many are inside, by token
        self._inside: Counter[int] = Counter()
        self._waiting: list[Callable[[], object]] = []

    @property
    def seen(self) -> int:
        """The highest token admitted so far; 0 when there is none."""
        return self._seen

    def check(self, token: int) -> None:
        """
        Admit *token*; `StaleToken` when a newer one was seen.  Never waits.

        Enough where the write follows at once: in a task, without an ``await`` between.
        """
        with self._guard:
            self._admit(token_number(token))

    def admit(self, token: int, timeout: float | timedelta | None = None) -> Passage:
        """
        Return the passage of *token*, to be entered: ``with``, or ``async with``.

        `StaleToken` when a newer one was seen, also while waiting.  `LockTimeout` when
        those with lower tokens have not left within *timeout* seconds.
        """
        return Passage(self, token_number(token), limit_seconds(timeout, "timeout"))

    def _admit(self, token: int) -> None:
        if token < self._seen:
            raise StaleToken(self.name, token, self._seen)
        self._seen = token

    def _enter(self, token: int, wake: Callable[[], object]) -> bool:
        """Enter if nobody with a lower token is inside; else have *wake* called to ask again."""
        with self._guard:
            self._admit(token)
            if any(other < token for other in self._inside):
                self._waiting.append(wake)
                return False
            self._inside[token] += 1
            return True

    def _leave(self, token: int) -> None:
        with self._guard:
            self._inside[token] -= 1
            if not self._inside[token]:
                del self._inside[token]
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def __repr__(self) -> str:
        return f"<Gate {self.name!r} seen={self._seen}>"


class Passage(OfOneProcess):
    """A way through a `Gate`, entered once: by a thread or by a task."""

    def __init__(self, gate: Gate, token: int, timeout: float | None) -> None:
        self._gate = gate
        self._token = token
        self._timeout = timeout

    def __enter__(self) -> None:
        until = None if self._timeout is None else time.monotonic() + self._timeout
        woken = threading.Event()
        while not self._gate._enter(self._token, woken.set):
            left = None if until is None else max(0.0, until - time.monotonic())
            if not woken.wait(left):
                raise self._too_slow()
            woken.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate._leave(self._token)

    async def __aenter__(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # its loop has ended, and the task with it
                loop.call_soon_threadsafe(woken.set)

        try:
            async with asyncio.timeout(self._timeout):
                while not self._gate._enter(self._token, wake):
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            raise self._too_slow() from None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate._leave(self._token)

    def _too_slow(self) -> LockTimeout:
        return LockTimeout(self._gate.name, self._timeout or 0.0)

    def __repr__(self) -> str:
        return f"<Passage {self._token} of {self._gate!r}>"
