"""What is sent to the guard: it ends a wait, or it is for the command."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType

from ._exit import Interrupted


def _named(*names: str) -> tuple[int, ...]:
    """Return those of the signals that this system has."""
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


#: These end who waits.  Whoever started the guard deaf to one of them (nohup) wanted that.
ENDS = _named("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
#: These are for the command, and do to the guard what they do to any program before.
OTHERS = _named("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH", "SIGCONT", "SIGTSTP")


def interrupting() -> AbstractContextManager[None]:
    """Let what ends a wait raise `Interrupted`: what was begun can be undone then."""
    return Signals().interrupting() if os.name == "posix" else nullcontext()


class Signals:
    """The guard's own handlers; who waits in `poll` is woken through a pipe."""

    def __init__(self) -> None:
        self.reading, self._wake = os.pipe()
        for fd in (self.reading, self._wake):
            os.set_blocking(fd, False)
        self._come: deque[int] = deque()
        self._interrupting = False
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in ENDS:
            self._catch(number)

    def _catch(self, number: int) -> None:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._come.append(number)
        if self._interrupting:
            self._raise()

    def _raise(self) -> None:
        for number in self._come:
            if number in ENDS:
                raise Interrupted(number)

    @contextmanager
    def interrupting(self) -> Generator[None]:
        """Let what ends a wait raise `Interrupted`, here and only here."""
        self._interrupting = True
        try:
            self._raise()
            yield
        finally:
            self._interrupting = False

    @contextmanager
    def passing_on(self) -> Generator[None]:
        """Catch what is for the command."""
        self._raise()  # it came too late to end the wait, and there is no command yet
        before = {number: signal.getsignal(number) for number in OTHERS}
        terminal_output = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        for number in OTHERS:
            self._catch(number)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGTTOU, terminal_output)

    def taken(self) -> Iterator[int]:
        """Yield what has come, and forget it."""
        with suppress(BlockingIOError):
            while os.read(self.reading, 512):
                pass
        while self._come:
            yield self._come.popleft()

    def wake(self) -> None:
        """Wake who waits; any thread may call this."""
        with suppress(BlockingIOError):  # it will wake anyway
            os.write(self._wake, b"\0")
