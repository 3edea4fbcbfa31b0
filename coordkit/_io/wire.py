"""One connection to Redis, one question at a time, never asked twice by itself."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import Any, Protocol

from redis import exceptions as rx

from .._core.ops import Call
from ..errors import CoordError, Unreachable
from .connect import CLUSTER_ERRORS, Source, cluster_error
from .refusals import NO_ANSWER, coord_error
from .scripts import by_digest, by_source, pack


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

    def __init__(self, source: Source, timeout: float) -> None:
        self._where = source.address
        self._timeout = timeout
        self._up = False
        #: how long the socket waits by itself
        self._bound = timeout
        self.connection: Any = source.connection(timeout=timeout)
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

    def call(self, call: Call) -> Any:
        """Run a script; `Unreachable` when no answer came in time."""
        self.connect(call.timeout)
        try:
            try:
                self._send([pack(by_digest(call))], 1)
                return self._read(call.timeout)
            except rx.NoScriptError:
                self._send([pack(by_source(call))], 1)
                return self._read(call.timeout)
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise self._refusal(exc) from exc

    def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts in one trip; a refusal stands in its call's place."""
        self.connect(timeout)
        try:
            self._send([pack(by_digest(call)) for call in calls], len(calls))
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
            return exc

    def _send(self, packed: list[bytes], questions: int) -> None:
        self.open += questions
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
    """As many connections as threads ask at once, up to the source's limit."""

    def __init__(self, source: Source, timeout: float) -> None:
        self._source = source
        self._timeout = timeout
        # Last in, first out: few connections stay warm.  None: not opened yet.
        self._free: list[Wire | None] = [None] * source.max_connections
        self._returned = Condition()
        self._starving = 0
        #: counts failures: after each, what idled meanwhile may be closed at the other end
        self._outage = 0

    def call(self, call: Call) -> Any:
        """Run a script on a free connection."""
        wire = self._take(call.timeout)
        try:
            return wire.call(call)
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

    def _take(self, timeout: float) -> Wire:
        try:
            wire = self._free.pop()
        except IndexError:
            wire = self._starve(timeout)
        wire = wire or Wire(self._source, self._timeout)
        if wire.outage != self._outage:
            wire.close()
            wire.outage = self._outage
        return wire

    def _starve(self, timeout: float) -> Wire | None:
        """Wait until another thread returns a connection."""
        with self._returned:
            self._starving += 1
            try:
                if self._returned.wait_for(lambda: self._free, timeout):
                    return self._free.pop()
            finally:
                self._starving -= 1
        raise Unreachable(
            f"all {self._source.max_connections} connections to "
            f"{self._source.address} were busy for {timeout:g} s",
            sent=False,
        )

    def _give_back(self, wire: Wire) -> None:
        if wire.open:  # interrupted: its answer is for nobody
            wire.close()
        self._free.append(wire)
        if self._starving:
            with self._returned:
                self._returned.notify()

    def close(self) -> None:
        """Close every connection that is not in use."""
        for wire in self._free:
            if wire is not None:
                wire.close()


class ClusterWires:
    """The way into a cluster: redis-py follows the slots, one question at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def call(self, call: Call) -> Any:
        """Run a script on the node that has its slot."""
        client: Any = self._source.cluster
        try:
            try:
                return client.execute_command(*by_digest(call))
            except rx.NoScriptError:
                return client.execute_command(*by_source(call))
        except CLUSTER_ERRORS as exc:
            raise cluster_error(exc, self._source.address, sent=True) from exc

    def pipeline(
        self,
        calls: Sequence[Call],
        timeout: float,  # noqa: ARG002  # a cluster's client has one for all it does
    ) -> list[Any]:
        """Run several scripts, each on its node; a refusal stands in its call's place."""
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self.call(call))
            except Unreachable:
                raise
            except CoordError as exc:
                answers.append(exc)
        return answers

    def close(self) -> None:
        """Close every connection."""
        self._source.close()
