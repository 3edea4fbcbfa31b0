"""One connection to Redis, one question at a time, never asked twice by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Condition
from typing import Any, Protocol
from weakref import WeakSet

from redis import exceptions as rx

from .._core.ops import Call
from ..errors import CoordError, Unreachable
from .connect import Route
from .refusals import NO_ANSWER, coord_error
from .scripts import ASKING, by_digest, by_source, pack

#: A connection that was dropped, not returned, is missed after so long.
LONGEST_WAIT = 0.05


class Asking(Protocol):
    """What a driver needs of the way to the server."""

    def call(self, call: Call) -> Any:
        """Run one script and return its answer."""
        ...

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several; an error of the server stands in its call's place."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Wire:
    """A connection of redis-py, driven by hand: it neither retries nor waits longer."""

    def __init__(self, route: Route[Any], timeout: float) -> None:
        self._where = route.address
        self._timeout = timeout
        self._up = False
        #: how long the socket waits by itself
        self._bound = timeout
        self.connection: Any = route.connect(timeout)
        #: questions sent whose answers have not been read
        self.open = 0
        #: how many outages it was opened after: its pool's count
        self.outage = 0

    def connect(self, timeout: float) -> None:
        """Connect within *timeout*, if need be.  Nothing was asked if this fails."""
        if self._up:
            return
        connection, bound = self.connection, min(timeout, self._timeout)
        connection.socket_connect_timeout = bound
        # The handshake asks too: it may not take longer than what it is for.
        connection.socket_timeout = self._bound = bound
        try:
            connection.connect()
        except (rx.RedisError, *NO_ANSWER) as exc:
            self.close()
            raise coord_error(exc, self._where, sent=False) from exc
        self._up = True

    def call(self, call: Call, *, asking: bool = False) -> Any:
        """Run a script; `Unreachable` when no answer came in time."""
        self.connect(call.timeout)
        before = [ASKING] if asking else []
        try:
            try:
                return self._ask([*before, pack(by_digest(call))], call.timeout)
            except rx.NoScriptError:
                return self._ask([*before, pack(by_source(call))], call.timeout)
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise self._refusal(exc) from exc

    def command(self, words: Sequence[str], timeout: float) -> Any:
        """Give a command of the server's own."""
        self.connect(timeout)
        try:
            return self._ask([pack(tuple(words))], timeout)
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise self._refusal(exc) from exc

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts in one trip; a refusal stands in its call's place."""
        self.connect(timeout)
        self.send(calls)
        return self.hear(calls, timeout)

    def send(self, calls: Sequence[Call]) -> None:
        """Ask several things at once: the first half of a trip."""
        try:
            self._send([pack(by_digest(call)) for call in calls])
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise self._refusal(exc) from exc

    def hear(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Return the answers: the second half of a trip."""
        try:
            answers = [self._heard(timeout) for _ in calls]
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise self._refusal(exc) from exc
        return [
            self._settled(call, answer)
            for call, answer in zip(calls, answers, strict=True)
        ]

    def _settled(self, call: Call, answer: Any) -> Any:
        """Return an answer of a trip, or the error it means."""
        if not isinstance(answer, Exception):
            return answer
        try:
            if isinstance(answer, rx.NoScriptError):
                return self.call(call)
            return self._refusal(answer)
        except CoordError as exc:
            return exc

    def _heard(self, timeout: float) -> Any:
        """Return the next answer, an error of the server as a value."""
        try:
            return self._read(timeout)
        except rx.ResponseError as exc:
            return exc.with_traceback(None)  # it refers to this wire, which may be lost

    def _ask(self, packed: list[bytes], timeout: float) -> Any:
        """Send, and return the last answer: of the questions before it none matters."""
        self._send(packed)
        for _ in packed[1:]:
            self._read(timeout)
        return self._read(timeout)

    def _send(self, packed: list[bytes]) -> None:
        self.open += len(packed)
        self.connection.send_packed_command(packed, check_health=False)

    def _read(self, timeout: float) -> Any:
        connection = self.connection
        if timeout != self._bound and not connection.can_read(timeout):
            raise rx.TimeoutError(f"no answer within {timeout:.3f} s")
        try:
            answer = connection.read_response()
        except rx.ResponseError:
            self.open -= 1
            raise
        self.open -= 1
        return answer

    def _refusal(self, exc: Exception) -> CoordError:
        """Return what an error means; a connection that cannot be asked now is closed."""
        error = coord_error(exc, self._where, sent=True)
        if isinstance(error, Unreachable):
            self.close()  # also a demoted master's: the name may lead elsewhere by now
        return error

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._up = False
        self.open = 0
        self.connection.disconnect()


class Wires:
    """
    As many connections as threads ask at once, up to the route's limit.

    Who was interrupted with a connection in hand has dropped it, and it counts no more.
    """

    def __init__(self, route: Route[Any], timeout: float) -> None:
        self._route = route
        self._timeout = timeout
        # Last in, first out: few connections stay warm.
        self._free: list[Wire] = []
        self._all: WeakSet[Wire] = WeakSet()
        self._returned = Condition()
        self._starving = 0
        #: counts failures: after each, what idled meanwhile may be closed at the other end
        self._outage = 0

    def call(self, call: Call, *, asking: bool = False) -> Any:
        """Run a script on a free connection."""
        wire = self._take(call.timeout)
        try:
            return wire.call(call, asking=asking)
        except Unreachable:
            self._outage += 1
            raise
        finally:
            self._give_back(wire)

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts on a free connection."""
        wire = self._take(timeout)
        try:
            return wire.pipeline(calls, timeout)
        except Unreachable:
            self._outage += 1
            raise
        finally:
            self._give_back(wire)

    def command(self, words: Sequence[str], timeout: float) -> Any:
        """Give a command of the server's own."""
        wire = self._take(timeout)
        try:
            return wire.command(words, timeout)
        finally:
            self._give_back(wire)

    def _take(self, timeout: float) -> Wire:
        """Return a connection for one caller, who gives it back."""
        try:
            wire = self._free.pop()
        except IndexError:
            wire = self._another(timeout)
        if wire.outage != self._outage:
            wire.close()
            wire.outage = self._outage
        return wire

    def _another(self, timeout: float) -> Wire:
        """Make a connection, or wait until another thread returns or drops one."""
        until = time.monotonic() + timeout
        with self._returned:
            self._starving += 1
            try:
                while True:
                    if self._free:
                        return self._free.pop()
                    if len(self._all) < self._route.limit:
                        wire = Wire(self._route, self._timeout)
                        self._all.add(wire)
                        return wire
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._returned.wait(min(left, LONGEST_WAIT))
            finally:
                self._starving -= 1
        raise Unreachable(
            f"all {self._route.limit} connections to {self._route.address} were "
            f"busy for {timeout:g} s",
            sent=False,
        )

    def _give_back(self, wire: Wire) -> None:
        """Have the connection serve another caller."""
        if wire.open:  # interrupted: its answer is for nobody
            wire.close()
        self._free.append(wire)
        if self._starving:
            with self._returned:
                self._returned.notify()

    def close(self) -> None:
        """Close every connection that is not in use."""
        for wire in self._free:
            wire.close()
