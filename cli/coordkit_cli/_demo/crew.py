"""
The processes of the demo: real ones, started, killed, frozen and thawed by us.

None outlives the demo: it ends them when it ends, and where it cannot, because it
was killed itself, its sitter does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import IO, Any, Self, cast

import coordkit

Event = dict[str, Any]

#: How long a step may take that needs no waiting: a busy machine is slow.
PATIENCE = 10.0
#: What a worker's error means to us, too; every other is a demo that went wrong.
_TOLD = {
    kind.__name__: kind
    for kind in (coordkit.NotPermitted, coordkit.Refused, coordkit.Unsupported)
}


class Wrong(Exception):
    """Something did not happen as it must."""


def _python(module: str) -> list[str]:
    """Return how to run one of our programs, out of reach of the working directory."""
    return [sys.executable, "-P", "-m", f"{__package__}.{module}"]


class Child:
    """A process that says on its standard output what happens to it, in lines of JSON."""

    def __init__(self, crew: Crew, name: str, argv: Sequence[str]) -> None:
        self.name = name
        self._crew = crew
        self._events: Queue[Event] = Queue()
        self._said: list[str] = []
        self._popen, self._stdin = _started(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        crew.told(f"pid {self.pid}")
        stdout = cast("IO[str]", self._popen.stdout)
        self._reader = Thread(target=self._read, args=(stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def last_words(self) -> str:
        """What it said last that is no event: an error, most likely."""
        self._reader.join(1)
        return self._said[-1] if self._said else "it said nothing"

    def write(self, text: str) -> None:
        """Write *text* to its standard input."""
        with suppress(OSError):  # it has ended: which shows when it does not answer
            _write(self._stdin, text)

    def close_input(self) -> None:
        """Let it see the end of its standard input."""
        with suppress(OSError):
            self._stdin.close()

    def order(self, do: str, **how: object) -> None:
        """Tell it what to do."""
        self.write(json.dumps({"do": do, **how}) + "\n")

    def expect(self, event: str, within: float = PATIENCE) -> Event:
        """Return the next event, which must be *event* and come in time."""
        try:
            got = self._events.get(timeout=within)
        except Empty:
            raise Wrong(f"{self.name}: no {event!r} within {within:g} s") from None
        if got["event"] == event:
            return got
        if got["event"] == "ended":
            raise Wrong(f"{self.name} ended by itself: {self.last_words}")
        if got["event"] != "error":
            raise Wrong(f"{self.name}: {got['event']!r} instead of {event!r}")
        if got["kind"] in _TOLD:
            raise _TOLD[got["kind"]](got["why"])
        raise Wrong(f"{self.name}: {got['kind']}: {got['why']}")

    def kill(self) -> None:
        """End it at once, frozen or not, without a chance to clean up."""
        self._popen.kill()
        self._popen.wait()
        self._crew.told(f"-pid {self.pid}")
        self.close_input()
        # It has seen the end; a thread that still runs at our own may crash Python.
        self._reader.join(PATIENCE)

    def freeze(self) -> None:
        """Stop it (SIGSTOP): it does not notice."""
        self._popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._popen.send_signal(signal.SIGCONT)

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                try:
                    event = json.loads(line)
                    event["event"]
                except (ValueError, TypeError, KeyError):
                    self._said.append(line.strip())
                else:
                    self._events.put(event)
        self._events.put({"event": "ended"})


class Crew:
    """Every process of the demo, and the sitter that ends them in its stead."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        # -I -S: starts at once, and imports nothing of ours.
        sitter = str(Path(__file__).with_name("sitter.py"))
        self._sitter, self._care = _started([sys.executable, "-I", "-S", sitter])

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """Start a program."""
        child = Child(self, name, argv)
        self._children.append(child)
        return child

    def start_python(self, name: str, module: str) -> Child:
        """Start one of the demo's own programs."""
        return self.start(name, _python(module))

    def told(self, line: str) -> None:
        """Tell the sitter."""
        with suppress(OSError):  # somebody killed it: we end our processes ourselves
            _write(self._care, line + "\n")

    def end_all(self) -> None:
        """End every process but the sitter."""
        while self._children:
            self._children[-1].kill()
            self._children.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_all()
        with suppress(OSError):
            self._care.close()
        self._sitter.wait()


def _started(
    argv: Sequence[str], **streams: Any
) -> tuple[subprocess.Popen[str], IO[str]]:
    """Start a program of ours, or a server; return it and its standard input."""
    # A group of its own: Ctrl-C is for the demo, which then ends the others.
    apart: dict[str, Any]
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:
        apart = {"process_group": 0}
    # They find what we found; -P keeps the working directory out.
    found = os.pathsep.join(path for path in sys.path if path)
    popen = subprocess.Popen(  # noqa: S603 - no shell, and nothing that a user wrote
        argv,
        stdin=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": found},
        **streams,
        **apart,
    )
    return popen, cast("IO[str]", popen.stdin)


def _write(pipe: IO[str], text: str) -> None:
    pipe.write(text)
    pipe.flush()
