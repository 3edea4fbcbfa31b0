"""Runs operations on the event loop, and the keeper in a task of its own."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from redis import exceptions as rx

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
    Wait,
)
from ..errors import CoordError, Unreachable
from .connect import CLUSTER_ERRORS, AsyncSource, cluster_error
from .refusals import NO_ANSWER, coord_error
from .scripts import by_digest, by_source

T = TypeVar("T")
log = logging.getLogger("coordkit")

#: A sleep is looked up from this often: timers stand still while the machine is
#: suspended, and the clock of the leases does not.
LONGEST_NAP = 5.0


class AsyncAsking(Protocol):
    """What a driver needs of the way to the server."""

    async def call(self, call: Call) -> Any:
        """Run one script and return its answer."""
        ...

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several; an error of the server stands in its call's place."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class AsyncWaking(Protocol):
    """What a driver needs of the line on which wakes arrive."""

    async def listen(self, rid: str, timeout: float) -> None:
        """Keep every wake for *rid* from now on."""
        ...

    async def wait(self, rid: str, timeout: float) -> str | None:
        """Wait for a wake, at most *timeout* seconds, and return it; None: ask again."""
        ...

    def forget(self, rid: str) -> None:
        """Keep no more wakes for *rid*."""
        ...


class _Question(NamedTuple):
    """A command on its way, and whom to tell its answer."""

    command: tuple[str | bytes | int, ...]
    answer: asyncio.Future[Any]
    timeout: float


class Line:
    """
    One connection for any number of tasks: what they ask in one turn of the loop
    is one write.

    A task that is cancelled leaves its answer to be read and dropped: it costs
    nobody the connection.  When the line breaks, every question on it is unknown.
    """

    def __init__(self, source: AsyncSource, timeout: float) -> None:
        self._source = source
        self._timeout = timeout
        self._queue: list[_Question] = []
        self._pump: asyncio.Task[None] | None = None
        self._connection: Any = None

    async def call(self, call: Call) -> Any:
        """Run a script; `Unreachable` when no answer came in time."""
        return self._value(await self._script(call, call.timeout))

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts in one trip; a refusal stands in its call's place."""
        answers = await asyncio.gather(*(self._script(c, timeout) for c in calls))
        for answer in answers:
            if isinstance(answer, Unreachable) and answer.sent:
                raise answer
        return list(answers)

    @staticmethod
    def _value(answer: Any) -> Any:
        if isinstance(answer, CoordError):
            raise answer
        return answer

    async def _script(self, call: Call, timeout: float) -> Any:
        """Return the answer of a script, or the error it means."""
        answer = await self._ask(by_digest(call), timeout)
        if isinstance(answer, rx.NoScriptError):
            answer = await self._ask(by_source(call), timeout)
        if isinstance(answer, Exception) and not isinstance(answer, CoordError):
            return coord_error(answer, self._source.address, sent=True)
        return answer

    def _ask(
        self, command: tuple[str | bytes | int, ...], timeout: float
    ) -> asyncio.Future[Any]:
        """Queue a question; its answer, or an exception as a value, comes by the future."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._queue.append(_Question(command, answer, timeout))
        if self._pump is None:
            # The task starts in the next turn: what this turn asks goes with it.
            self._pump = loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        """Write all that is queued, read an answer for each, until nothing is queued."""
        try:
            while self._queue:
                trip, self._queue = self._queue, []
                await self._trip(trip)
        finally:
            self._pump = None
            _tell(self._queue, Unreachable("the line was closed", sent=False))
            self._queue = []

    async def _trip(self, trip: list[_Question]) -> None:
        sent, heard = False, 0
        longest = max(question.timeout for question in trip)
        impatient = self._impatient(trip, longest)
        try:
            async with asyncio.timeout(longest):
                connection = self._connection
                if connection is None or not connection.is_connected:
                    connection = self._source.connection(timeout=self._timeout)
                    self._connection = connection
                    await connection.connect()
                packed = connection.pack_commands([q.command for q in trip])
                sent = True
                await connection.send_packed_command(packed, check_health=False)
                for question in trip:
                    answer = await self._read(connection)
                    heard += 1
                    if not question.answer.done():
                        question.answer.set_result(answer)
        except (rx.RedisError, *NO_ANSWER) as exc:
            await self._broken()
            error = coord_error(exc, self._source.address, sent=sent)
            _tell(trip[heard:], error)
        except BaseException:
            await self._broken()
            _tell(trip[heard:], Unreachable("the line was closed", sent=sent))
            raise
        finally:
            for timer in impatient:
                timer.cancel()

    def _impatient(
        self, trip: list[_Question], longest: float
    ) -> list[asyncio.TimerHandle]:
        """Have those who cannot wait so long told in time; the line goes on for the others."""
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        for timeout in {question.timeout for question in trip} - {longest}:
            those = [question for question in trip if question.timeout == timeout]
            error = Unreachable(
                f"no answer from {self._source.address} within {timeout:.3f} s"
            )
            timers.append(loop.call_later(timeout, _tell, those, error))
        return timers

    @staticmethod
    async def _read(connection: Any) -> Any:
        try:
            return await connection.read_response()
        except rx.ResponseError as exc:
            return exc

    async def _broken(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connection; questions under way are unknown."""
        pump = self._pump
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        await self._broken()


def _tell(questions: list[_Question], error: CoordError) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_result(error)


class AsyncClusterWires:
    """The way into a cluster: redis-py follows the slots."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source

    async def call(self, call: Call) -> Any:
        """Run a script on the node that has its slot."""
        client: Any = self._source.cluster
        sent = False
        try:
            async with asyncio.timeout(call.timeout):
                await client.initialize()
                sent = True
                try:
                    return await client.execute_command(*by_digest(call))
                except rx.NoScriptError:
                    return await client.execute_command(*by_source(call))
        except CLUSTER_ERRORS as exc:
            raise cluster_error(exc, self._source.address, sent=sent) from exc

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts, each on its node; a refusal stands in its call's place."""
        answers = await asyncio.gather(
            *(self.call(call._replace(timeout=timeout)) for call in calls),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, Unreachable) or (
                isinstance(answer, BaseException) and not isinstance(answer, CoordError)
            ):
                raise answer
        return list(answers)

    async def close(self) -> None:
        """Close every connection."""
        await self._source.close()


class Aio:
    """A driver: obeys the requests of an operation, one after another."""

    def __init__(
        self,
        wires: AsyncAsking,
        line: AsyncWaking,
        clock: Callable[[], float],
        defer: Callable[[Call, float], None],
    ) -> None:
        self._wires = wires
        self._line = line
        self._clock = clock
        self._defer = defer

    async def run(self, op: Op[T]) -> T:
        """Drive *op* to its end and return what it returns."""
        listening: str | None = None
        try:
            request = next(op)
            while True:
                if type(request) is Listen:
                    listening = request.rid
                try:
                    reply = await self._ask(request)
                except BaseException as exc:  # noqa: BLE001  # the operation decides
                    request = op.throw(exc)
                else:
                    request = op.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if listening is not None:
                self._line.forget(listening)

    async def _ask(self, request: Request) -> Reply:
        asked_at = self._clock()
        value: Any = None
        match request:
            case Call():
                value = await self._wires.call(request)
            case Pipeline(calls, timeout):
                value = await self._wires.pipeline(calls, timeout)
            case Listen(rid, timeout):
                await self._line.listen(rid, timeout)
            case Wait(rid, timeout):
                value = await self._line.wait(rid, timeout)
            case Rest(until):
                value = await self._rest(until)
            case Defer(call, until):
                self._defer(call, until)
        return Reply(value, asked_at, self._clock())

    async def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0:
            await asyncio.sleep(left)
        return False


class KeeperTask(Aio):
    """The keeper's own driver: a task with a connection of its own."""

    def __init__(
        self,
        keeper: Keeper,
        wires: AsyncAsking,
        line: AsyncWaking,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(wires, line, clock, keeper.defer)
        self._keeper = keeper
        self._stirred = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def stir(self) -> None:
        """Have the keeper look again; start it if it does not run."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._keep(), name="coordkit-keeper"
            )
        self._stirred.set()

    async def stop(self) -> None:
        """Let it end."""
        task, self._stopping = self._task, True
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._wires.close()

    async def _keep(self) -> None:
        try:
            await self.run(self._keeper.keep())
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("the keeper has failed: every lease it kept is lost")
            raise
        finally:
            self._keeper.abandon()

    async def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0:
            nap = None if math.isinf(left) else min(left, LONGEST_NAP)
            try:
                async with asyncio.timeout(nap):
                    await self._stirred.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(0)  # one turn for the others
        self._stirred.clear()
        return self._stopping
