"""The ways to the server for tasks: one connection that all of them share, or a cluster."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis import exceptions as rx

from .._core.ops import Call
from ..errors import CoordError, Unreachable
from .connect import CLUSTER_ERRORS, AsyncSource, cluster_error
from .refusals import NO_ANSWER, coord_error
from .scripts import by_digest, by_source, pack


class _Question:
    """A command on its way, and whom to tell its answer."""

    __slots__ = ("answer", "ends", "packed", "sent")

    def __init__(self, packed: bytes, answer: asyncio.Future[Any], ends: float) -> None:
        self.packed = packed
        self.answer = answer
        self.ends = ends
        self.sent = False

    def settle(self, answer: Any) -> None:
        """Tell who asked, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Line:
    """
    One connection for any number of tasks: what they ask in one turn of the loop
    is one write, and answers come while more is asked.

    A task that is cancelled leaves its answer to be read and dropped: it costs
    nobody the connection.  When the line breaks, every question on it is unknown.
    """

    def __init__(self, source: AsyncSource, timeout: float) -> None:
        self._source = source
        self._timeout = timeout
        self._queue: list[_Question] = []
        self._sent: deque[_Question] = deque()
        self._asked = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def call(self, call: Call) -> Any:
        """Run a script; `Unreachable` when no answer came in time."""
        answer = await self._ask(by_digest(call), call.timeout)
        if isinstance(answer, Exception):
            answer = await self._unusual(answer, call, call.timeout)
            if isinstance(answer, CoordError):
                raise answer
        return answer

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts in one trip; a refusal stands in its call's place."""
        asked = [self._ask(by_digest(call), timeout) for call in calls]
        answers: list[Any] = list(await asyncio.gather(*asked))
        for i, answer in enumerate(answers):
            if isinstance(answer, Exception):
                answers[i] = await self._unusual(answer, calls[i], timeout)
            if isinstance(answers[i], Unreachable) and answers[i].sent:
                raise answers[i]
        return answers

    async def _unusual(self, error: Exception, call: Call, timeout: float) -> Any:
        """Return the answer to a script that the server had not seen, or what it means."""
        answer: Any = error
        if isinstance(error, rx.NoScriptError):
            answer = await self._ask(by_source(call), timeout)
        if isinstance(answer, Exception) and not isinstance(answer, CoordError):
            return self._error(answer, sent=True)
        return answer

    def _error(self, cause: Exception, *, sent: bool) -> CoordError:
        """Return what *cause* means, for one question: each gets an error of its own."""
        error = coord_error(cause, self._source.address, sent=sent)
        error.__cause__ = cause
        return error

    def _ask(self, command: tuple[Any, ...], timeout: float) -> asyncio.Future[Any]:
        """Queue a question; its answer, or an exception as a value, comes by the future."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        question = _Question(pack(command), loop.create_future(), ends)
        self._queue.append(question)
        # The task runs in the next turn: what else this turn asks goes with it.
        self._asked.set()
        if self._serving is None:
            self._serving = loop.create_task(self._serve())
        if self._watch is None or ends < self._watch.when():
            self._look_at(ends, loop)
        return question.answer

    def _look_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = loop.call_at(when, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those who have waited long enough; one timer serves for all."""
        self._watch, now = None, loop.time()
        silent = rx.TimeoutError("no answer in time")
        waiting = [q for q in (*self._sent, *self._queue) if not q.answer.done()]
        for question in waiting:
            if question.ends <= now:
                question.settle(self._error(silent, sent=question.sent))
        # All before it are answered and it is not: nothing comes through any more.
        if self._sent and self._sent[0].ends <= now and self._serving is not None:
            self._serving.cancel()
        elif waiting := [q for q in waiting if q.ends > now]:
            self._look_at(min(q.ends for q in waiting), loop)

    async def _serve(self) -> None:
        """Connect, write what is asked and read the answers, until the line breaks."""
        broken: Exception = rx.ConnectionError("the connection was given up")
        connection = self._source.connection(timeout=self._timeout)
        # The greeting asks, too: it may not take longer than what it is for.
        left = self._queue[0].ends - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(left, self._timeout)):
                await connection.connect()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._write(connection))
                both.create_task(self._read(connection))
        except* (rx.RedisError, *NO_ANSWER) as group:
            broken = _first(group)
        finally:
            self._serving = None
            unanswered, self._queue = [*self._sent, *self._queue], []
            self._sent.clear()
            for question in unanswered:
                question.settle(self._error(broken, sent=question.sent))
            await connection.disconnect()

    async def _write(self, connection: Any) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            trip, self._queue = self._queue, []
            for question in trip:
                question.sent = True
            self._sent.extend(trip)
            packed = [question.packed for question in trip]
            await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                answer: Any = await connection.read_response()
            except rx.ResponseError as exc:
                answer = exc
            self._sent.popleft().settle(answer)

    async def close(self) -> None:
        """Close the connection; questions under way are unknown."""
        serving = self._serving
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        if self._watch is not None:
            self._watch.cancel()


def _first(group: Any) -> Exception:
    """Return what broke the line; the other failures came of it."""
    first: Any = group
    while hasattr(first, "exceptions"):
        first = first.exceptions[0]
    error: Exception = first
    return error


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
