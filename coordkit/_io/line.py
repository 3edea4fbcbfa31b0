"""The way to one server for tasks: one connection that all of them share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis import exceptions as rx

from .._core.ops import Call
from ..errors import CoordError, Unreachable
from .connect import Route
from .refusals import NO_ANSWER, coord_error
from .scripts import ASKING, by_digest, by_source, pack
from .stream import Relay, Stream, opened


class _Question:
    """A command on its way, and whom to tell its answer."""

    __slots__ = ("answer", "asking", "ends", "packed", "sent")

    def __init__(
        self, packed: bytes, answer: asyncio.Future[Any], ends: float, *, asking: bool
    ) -> None:
        self.packed = packed
        self.answer = answer
        self.ends = ends
        self.asking = asking
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

    def __init__(self, route: Route[Any], timeout: float) -> None:
        self._route = route
        self._timeout = timeout
        self._queue: list[_Question] = []
        self._sent: deque[_Question] = deque()
        self._stream: Stream | Relay | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    async def call(self, call: Call, *, asking: bool = False) -> Any:
        """Run a script; `Unreachable` when no answer came in time."""
        answer = await self._ask(by_digest(call), call.timeout, asking=asking)
        if isinstance(answer, rx.NoScriptError):
            answer = await self._ask(by_source(call), call.timeout, asking=asking)
        if isinstance(answer, Exception):
            raise self._refusal(answer)
        return answer

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several scripts in one trip; a refusal stands in its call's place."""
        asked = [self._ask(by_digest(call), timeout) for call in calls]
        answers: list[Any] = list(await asyncio.gather(*asked))
        for i, answer in enumerate(answers):
            if isinstance(answer, rx.NoScriptError):
                answers[i] = await self._ask(by_source(calls[i]), timeout)
            if isinstance(answers[i], Exception):
                answers[i] = self._refusal(answers[i])
            if isinstance(answers[i], Unreachable) and answers[i].sent:
                raise answers[i]
        return answers

    async def command(self, words: Sequence[str], timeout: float) -> Any:
        """Give a command of the server's own."""
        answer = await self._ask(tuple(words), timeout)
        if isinstance(answer, Exception):
            raise self._refusal(answer)
        return answer

    def _ask(
        self, command: tuple[Any, ...], timeout: float, *, asking: bool = False
    ) -> asyncio.Future[Any]:
        """Queue a command; its answer, or an exception as a value, comes by the future."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        question = _Question(pack(command), loop.create_future(), ends, asking=asking)
        if self._closed:
            question.settle(Unreachable("the session was closed", sent=False))
            return question.answer
        self._queue.append(question)
        if len(self._queue) == 1:
            # In the next turn: what else this turn asks goes with it.
            loop.call_soon(self._flush)
        if self._watch is None or ends < self._watch.when():
            self._look_at(ends, loop)
        return question.answer

    def _error(self, answer: Exception, *, sent: bool = True) -> CoordError:
        """Return what an exception means, for one question: each gets its own."""
        if isinstance(answer, CoordError):
            return answer
        error = coord_error(answer, self._route.address, sent=sent)
        error.__cause__ = answer
        return error

    def _refusal(self, answer: Exception) -> CoordError:
        """Return what an error means; a server that cannot answer now is left, once idle."""
        error = self._error(answer)
        stream, idle = self._stream, not self._sent
        if isinstance(error, Unreachable) and stream is not None and idle:
            stream.close()  # a demoted master's: the name may lead elsewhere by now
            self._stream = None
        return error

    async def close(self) -> None:
        """Close the connection; questions under way are unknown."""
        self._closed = True
        self._fail(rx.ConnectionError("the session was closed"))
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
            await stream.wait_closed()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._watch is not None:
            self._watch.cancel()

    # -- the connection ---------------------------------------------------------------

    def _flush(self) -> None:
        """Send what is asked, or connect first."""
        trip = [q for q in self._queue if not q.answer.done()]
        self._queue = []
        if self._stream is not None and trip:
            packed: list[bytes] = []
            for question in trip:
                question.sent = True
                if question.asking:
                    packed.append(ASKING)
                    self._sent.append(_unheard(question))
                packed.append(question.packed)
                self._sent.append(question)
            self._stream.write(b"".join(packed))
        elif trip:
            self._queue = trip
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.create_task(self._open(), name="coordkit-connect")

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        # The greeting asks, too: it may not take longer than what it is for.
        within = min(self._queue[0].ends - loop.time(), self._timeout)
        try:
            self._stream = await opened(
                self._route.connect(within), within, self._heard, self._broken
            )
        except (rx.RedisError, *NO_ANSWER) as exc:
            self._fail(exc)
        finally:
            self._opening = None
            self._flush()

    def _heard(self, answer: Any) -> None:
        self._sent.popleft().settle(answer)

    def _broken(self, why: Exception) -> None:
        """Every question on the line is unknown; what was not sent goes over the next."""
        self._stream = None
        unknown, self._sent = self._sent, deque()
        for question in unknown:
            question.settle(self._error(why, sent=True))
        self._flush()

    def _fail(self, why: Exception) -> None:
        """Nothing can be sent: tell everybody."""
        unanswered, self._queue = [*self._sent, *self._queue], []
        self._sent.clear()
        for question in unanswered:
            question.settle(self._error(why, sent=question.sent))

    # -- time -------------------------------------------------------------------------

    def _look_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = loop.call_at(when, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those who have waited long enough; one timer serves for all."""
        self._watch, now = None, loop.time()
        silent = rx.TimeoutError("it was silent for too long")
        for question in (*self._sent, *self._queue):
            if question.ends <= now:
                question.settle(self._error(silent, sent=question.sent))
        # All before it are answered and it is not: nothing comes through any more.
        if self._stream is not None and self._sent and self._sent[0].ends <= now:
            self._stream.close()
            self._broken(silent)
        waiting = [q for q in (*self._sent, *self._queue) if not q.answer.done()]
        if waiting:
            self._look_at(min(q.ends for q in waiting), loop)


def _unheard(question: _Question) -> _Question:
    """Return the place of the answer to an ASKING, which nobody waits for."""
    answer = question.answer.get_loop().create_future()
    return _Question(ASKING, answer, question.ends, asking=False)
