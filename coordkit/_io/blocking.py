"""Runs operations in the calling thread, and the keeper in a thread of its own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from .._core.follow import Copy, Follower, Tended, refresh
from .._core.keeper import Keeper
from .._core.ops import (
    Call,
    Defer,
    Listen,
    Op,
    Pipeline,
    Reply,
    Request,
    Rest,
    Tell,
    Wait,
    ended,
)
from ..errors import Unreachable
from .wake import WakeLine
from .wire import Asking

T = TypeVar("T")
log = logging.getLogger("coordkit")

#: A sleep is looked up from this often: timers stand still while the machine is
#: suspended, and the clock of the leases does not.
LONGEST_NAP = 5.0


class Blocking:
    """A driver: obeys the requests of an operation, one after another."""

    def __init__(
        self,
        wires: Asking,
        line: WakeLine,
        clock: Callable[[], float],
        defer: Callable[[Call, float], None],
    ) -> None:
        self._wires = wires
        self._line = line
        self._clock = clock
        self._defer = defer

    def run(self, op: Op[T]) -> T:
        """Drive *op* to its end and return what it returns."""
        try:
            return self._drive(op, None)
        except BaseException as exc:
            if ended(op):
                raise
            return self._drive(op, exc)  # interrupted between two requests

    def _drive(self, op: Op[T], problem: BaseException | None) -> T:
        listening: str | None = None
        clock, call, obey = self._clock, self._wires.call, self._obey
        reply: Any = None
        asked_at = 0.0
        try:
            while True:
                try:
                    request = op.send(reply) if problem is None else op.throw(problem)
                    problem = None
                    if type(request) is Listen:
                        listening = request.rid
                    asked_at = clock()
                    # Nine questions of ten are calls: these take a frame less.
                    value = call(request) if type(request) is Call else obey(request)
                    reply = Reply(value, asked_at, clock())
                except BaseException as exc:
                    if ended(op):
                        raise  # it has ended, with this
                    if isinstance(exc, Unreachable):
                        exc.asked_at, exc.heard_at = asked_at, clock()
                    problem = exc
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            problem = None  # it refers to this frame: what that holds would live on
            if listening is not None:
                self._line.forget(listening)

    def stream(self, op: Op[None]) -> Iterator[Any]:
        """Drive *op*, and yield what it tells; it ends when nobody wants more."""
        listening: str | None = None
        reply: Any = None
        problem: BaseException | None = None
        asked_at = 0.0
        try:
            while True:
                try:
                    request = op.send(reply) if problem is None else op.throw(problem)
                    problem, value = None, None
                    if type(request) is Listen:
                        listening = request.rid
                    asked_at = self._clock()
                    if type(request) is Tell:
                        yield request.value
                    else:
                        value = self._obey(request)
                    reply = Reply(value, asked_at, self._clock())
                except BaseException as exc:
                    if ended(op):
                        raise  # it has ended, with this
                    if isinstance(exc, Unreachable):
                        exc.asked_at, exc.heard_at = asked_at, self._clock()
                    problem = exc
        except StopIteration:
            return
        finally:
            problem = None  # it refers to this frame: what that holds would live on
            if listening is not None:
                self._line.forget(listening)

    def _obey(self, request: Request) -> Any:
        match request:
            case Call():
                return self._wires.call(request)
            case Pipeline(calls, timeout):
                return self._wires.pipeline(calls, timeout)
            case Listen(rid, timeout, channel):
                return self._line.listen(rid, timeout, channel)
            case Wait(rid, timeout):
                return self._line.wait(rid, timeout)
            case Rest(until):
                return self._rest(until)
            case Tell():
                raise TypeError("this operation is iterated over, not run")
            case Defer(call, until):
                return self._defer(call, until)

    def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0:
            time.sleep(left)
        return False


class KeeperThread(Blocking):
    """The keeper's own driver: a daemon thread with a connection of its own."""

    def __init__(
        self,
        keeper: Keeper,
        wires: Asking,
        line: WakeLine,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(wires, line, clock, keeper.defer)
        self._keeper = keeper
        self._stirred = Event()
        self._stopping = False
        self._thread: Thread | None = None

    def stir(self) -> None:
        """Have the keeper look again; start it if it does not run."""
        if self._stopping:
            return
        if self._thread is None or self._thread.ident is None:
            # Known before it runs: an interruption must not leave one that is not.
            self._thread = Thread(
                target=self._keep, name="coordkit-keeper", daemon=True
            )
            self._thread.start()
        self._stirred.set()

    def stop(self, timeout: float) -> None:
        """Let it end after what it is doing."""
        thread, self._stopping = self._thread, True
        self._stirred.set()
        if thread is not None and thread.ident is not None:
            thread.join(timeout)
        self._wires.close()

    def _keep(self) -> None:
        try:
            self.run(self._keeper.keep())
        except BaseException:
            log.exception("the keeper has failed: every lease it kept is lost")
            raise
        finally:
            self._thread = None  # whoever takes a lease from now on starts another
            self._keeper.abandon()

    def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0 and not self._stopping:
            self._stirred.wait(None if math.isinf(left) else min(left, LONGEST_NAP))
        self._stirred.clear()
        return self._stopping


class FollowerThread(Blocking):
    """The follower's own driver: a daemon thread that starts with the first copy."""

    def __init__(
        self,
        follower: Follower,
        wires: Asking,
        line: WakeLine,
        clock: Callable[[], float],
        defer: Callable[[Call, float], None],
        rid: str,
    ) -> None:
        super().__init__(wires, line, clock, defer)
        self._follower = follower
        self._rid = rid
        self._lock = Lock()
        self._thread: Thread | None = None

    def follow(self, copy: Copy) -> None:
        """Ask about *copy* now, and keep it fresh from then on."""
        self.run(refresh(copy))
        if not self._follower.add(copy):
            return
        with self._lock:
            if self._thread is not None:
                self.stir()
                return
            self._thread = Thread(
                target=self._follow, name="coordkit-follower", daemon=True
            )
            self._thread.start()

    def attend(self, tended: Tended) -> None:
        """Keep *tended* fresh from now on, and have it tend."""
        self._follower.attend(tended)
        self.stir()

    def stir(self) -> None:
        """Have it look again."""
        self._line.stir(self._rid)

    def stop(self, timeout: float) -> None:
        """Wait for its end, once its line is closed."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _follow(self) -> None:
        try:
            self.run(self._follower.follow(self._rid))
        except BaseException:
            if self._line.closed:
                return  # under it: so it ends
            log.exception("the follower has failed: nothing is kept fresh any more")
            raise
        finally:
            self._follower.abandon()
