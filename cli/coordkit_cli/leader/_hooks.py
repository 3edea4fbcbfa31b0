"""
What is run beside the command when it was elected, and when its term is over.

A hook is told, not asked: nothing waits for it, and it is not guarded.  What only the
leader may do belongs into the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue
from threading import Thread
from typing import Self

from .._script import Script

#: A hook that takes longer is killed: those that follow must not come too late.
LONGEST = 10.0


class Hooks:
    """Runs hooks one after another, in a thread; leaving it waits for the last."""

    def __init__(
        self,
        scripts: Iterable[tuple[str, str]],
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._scripts = tuple(scripts)
        self._environ = environ
        self._say = say
        self._queue = SimpleQueue[tuple[str, str, Mapping[str, str]] | None]()
        self._thread = Thread(target=self._obey, name="coordkit-hooks", daemon=True)

    def run(self, event: str, more: Mapping[str, str]) -> None:
        """Have the hooks of *event* run, with *more* in their environment."""
        for on, script in self._scripts:
            if on == event:
                self._queue.put((event, script, more))

    def __enter__(self) -> Self:
        if self._scripts:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _obey(self) -> None:
        while (order := self._queue.get()) is not None:
            event, script, more = order
            environ = {**self._environ, **more, "COORDKIT_EVENT": event}
            if problem := _run(script, environ):
                self._say(f"the hook of {event!r} {problem}")


def _run(script: str, environ: Mapping[str, str]) -> str:
    """Run a script to its end; return what went wrong, if anything did."""
    try:
        hook = Script(script, environ, 2)  # standard output is the command's
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    code = hook.wait(LONGEST)
    if code is None:
        hook.kill()
        return f"was killed after {LONGEST:g}s"
    return f"has failed, exit {code}" if code else ""
