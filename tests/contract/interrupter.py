"""Ctrl-C at any line: strikes before the n-th line, and looks what is left."""

from __future__ import annotations

import gc
import linecache
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import redis

import coordkit
from contract.places import Place
from coordkit import CoordError, Lock, Reason, Session

OURS, THEIRS = (str(Path(p.__file__ or "").parent) for p in (coordkit, redis))


class Interrupter:
    """
    Raises KeyboardInterrupt before the n-th line that runs in the calling thread.

    Lines of coordkit count, and (*deep*) those of redis-py.
    """

    def __init__(self, n: int, *, deep: bool) -> None:
        self._left = n
        self._houses = (OURS, THEIRS) if deep else (OURS,)
        #: the line of coordkit that was not run, or that called redis-py; "" if none
        self.where = ""

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *exc: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(self._houses) or _collecting(frame):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line" and not _leaving(frame):
            self._left -= 1
            if self._left < 0:
                self.where = _told(frame)
                raise KeyboardInterrupt
        return self._line


def _leaving(frame: FrameType) -> bool:
    """
    Whether the line is the ``with`` that is being left.

    A tracer is told of it before ``__exit__`` is called.  No signal comes there: the
    interpreter looks for signals in calls and at the ends of loops only.
    """
    code, line = frame.f_code, frame.f_lineno
    if not linecache.getline(code.co_filename, line).lstrip().startswith("with "):
        return False
    return frame.f_lasti != min(start for start, _, at in code.co_lines() if at == line)


def _collecting(frame: FrameType | None) -> bool:
    """Whether it was called by `__del__`, out of which Python lets nothing come."""
    while frame is not None and frame.f_code.co_filename.startswith((OURS, THEIRS)):
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _told(frame: FrameType) -> str:
    at: FrameType | None = frame
    while at is not None and not at.f_code.co_filename.startswith(OURS):
        at = at.f_back
    assert at is not None
    path = Path(at.f_code.co_filename).relative_to(Path(OURS).parent)
    return f"{path}:{at.f_lineno} {at.f_code.co_name}"


class Case:
    """
    Something to be interrupted at each of its lines, one after another.

    *work* gets a lock of a session with one connection; *prepare* makes the server
    ready for it.  *anew*: each time with a session that has not connected yet.
    """

    def __init__(
        self,
        place: Place,
        open_session: Callable[[], Session],
        work: Callable[[Lock], None],
        *,
        prepare: Callable[[Lock], None] = lambda _: None,
        anew: bool = False,
    ) -> None:
        self._place = place
        self._open = open_session
        self._work = work
        self._prepare = prepare
        self._anew = anew
        self._session: Session | None = None
        self.cases = 0
        #: what was left, and the lines where that happened
        self.left: defaultdict[str, Counter[str]] = defaultdict(Counter)
        #: where a lease was left that ends by its ttl, with a warning
        self.until_ttl: Counter[str] = Counter()

    def run(self) -> None:
        """Interrupt it at each line; then `left` tells what must not be."""
        # In a thread of its own: an error that a tracer raises while another one is handled
        # may stay behind in the thread's state.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._run).result()

    def _run(self) -> None:
        where = ""
        while where := self._interrupted(self.cases):
            self.cases += 1
            if self._worse(where) or self._anew:
                self._close(where)
        self._close(where)
        with warnings.catch_warnings():
            # the sockets that redis-py was opening, when it was struck there
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def _untouched(self, lock: Lock) -> bool:
        asynchronous: Any = lock  # to look at its keys
        return self._place.untouched(asynchronous)

    def story(self) -> str:
        """Return all that is left, and where it was left."""
        return f"of {self.cases} interruptions:\n" + "\n".join(
            f"{what}: {line} ({count} times)"
            for what, where in self.left.items()
            for line, count in sorted(where.items())
        )

    def _lock(self) -> Lock:
        if self._session is None:
            self._session = self._open()
            if not self._anew:
                self._session.lock("it").acquire().release()
        return self._session.lock("it", ttl=60, waiter_ttl=40)

    def _close(self, where: str) -> None:
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
            self.left[f"it cannot be closed: {error!r}"][where] += 1

    def _interrupted(self, n: int) -> str:
        """Interrupt it at its *n*-th line; return which one that was."""
        lock = self._lock()
        interrupter = Interrupter(n, deep=not self._anew)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self._prepare(lock)
            try:
                # with a lock of its own: else that would remember what it entered
                own = [self._lock()]
                with interrupter:
                    self._work(own.pop())
            except (KeyboardInterrupt, CoordError):
                pass
            if interrupter.where:
                self._look(lock, interrupter.where, told)
        return interrupter.where

    def _look(
        self, lock: Lock, where: str, told: list[warnings.WarningMessage]
    ) -> None:
        """Note what is left on the server, and take it away."""
        keys, raw, engine = lock._options.keys, self._place.raw, lock._engine
        if not (raw.hget(keys.lock, "rid") or "").startswith(engine._id):
            raw.delete(keys.lock)  # of whom the test had it held
        end = time.monotonic() + 0.1  # for what the keeper does in the caller's place
        while not self._untouched(lock) and time.monotonic() < end and not told:
            time.sleep(0.001)
        if not self._untouched(lock):
            self._note(lock, where, told)
        for lease in engine.keeper.leases():
            engine.keeper.drop(lease)
            lease._end(Reason.BROKEN)
        raw.delete(keys.lock, keys.queue, keys.alive, keys.waiters)
        if engine._line._leader() is not None:
            self.left["no thread will read wakes any more"][where] += 1

    def _note(
        self, lock: Lock, where: str, told: list[warnings.WarningMessage]
    ) -> None:
        if not told:
            gc.collect()  # what was interrupted may be part of a cycle
        if any(w.category is ResourceWarning for w in told):
            self.until_ttl[where] += 1
        elif not self._place.raw.exists(lock._options.keys.lock):
            self.left["still in the queue"][where] += 1
        elif lock._engine.keeper.leases():
            self.left["held and renewed"][where] += 1
        else:
            self.left["held, and nobody was warned"][where] += 1

    def _worse(self, where: str) -> bool:
        """Whether the session has suffered: it has one connection, can it ask?"""
        lock = self._lock()
        try:
            lock.acquire(timeout=0).release()
        except CoordError as error:
            self.left[f"the session is of no use: {error!r:.60}"][where] += 1
            return True
        return lock._engine._line._leader() is not None
