"""
A stage for operations: what must be asked, and what comes back, line by line.

    stage = Stage()
    stage.play(op, [("lock_acquire", [b"busy", 100, 0]), (Wait, ""), …])

The first half of a line is the name of a script, a kind of request, or the very
request.  The second half is the value of the reply, or an exception to throw into the
operation; `Took` says how long it needed.  Else a rest, or a wait without a wake, lasts
as long as was asked, and all else takes no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from coordkit._core.ops import Call, Op, Reply, Request, Rest, Wait
from coordkit.errors import Unreachable

T = TypeVar("T")
Line: TypeAlias = tuple[str | type | Request, Any]


class Took(NamedTuple):
    """An answer, or an exception, that came after so many seconds."""

    seconds: float
    answer: Any = None


class Stage:
    """A clock that stands at 100 s, and all that was asked so far."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[Request] = []

    def clock(self) -> float:
        """What a lease is given to look at."""
        return self.now

    def play(self, op: Op[T], lines: Sequence[Line]) -> T:
        """Drive *op* through all *lines*; return what it returns, raise what it raises."""
        left = list(lines)
        try:
            request = next(op)
            while left:
                request = self.say(op, request, left.pop(0))
        except StopIteration as stop:
            assert not left, f"not asked: {left}"
            result: T = stop.value
            return result
        except AssertionError:
            raise
        except BaseException:
            assert not left, f"not asked: {left}"
            raise
        raise AssertionError(f"one question too many: {request}")

    def improvise(self, op: Op[T], answer: Callable[[Request], Any]) -> T:
        """Drive *op* to its end; *answer* makes up the second half of each line."""
        try:
            request = next(op)
            for _ in range(10_000):
                request = self.say(op, request, (type(request), answer(request)))
        except StopIteration as stop:
            result: T = stop.value
            return result
        raise AssertionError("it does not come to an end")

    def upto(self, op: Op[Any], lines: Sequence[Line]) -> Request:
        """Drive *op* through all *lines*; return the request that it makes then."""
        request = next(op)
        for line in lines:
            request = self.say(op, request, line)
        return request

    def leave(self, op: Op[Any], lines: Sequence[Line]) -> None:
        """Drive *op* through all *lines*, and go; it is a RuntimeError if it asks then."""
        self.upto(op, lines)
        op.close()

    def calls(self) -> list[Call]:
        """The scripts that were called, in order."""
        return [request for request in self.asked if isinstance(request, Call)]

    def say(self, op: Op[Any], request: Request, line: Line) -> Request:
        """Answer one request of *op* with *line*; return the next."""
        self.asked.append(request)
        expected, answer = line
        assert _fits(expected, request), f"expected {expected}, asked was {request}"
        asked_at = self.now
        if isinstance(answer, Took):
            self.now += answer.seconds
            answer = answer.answer
        else:
            self.now += _lasts(request, answer, self.now)
        if isinstance(answer, Unreachable):
            answer.asked_at, answer.heard_at = asked_at, self.now
        if isinstance(answer, BaseException):
            return op.throw(answer)
        return op.send(Reply(answer, asked_at, self.now))


def play(op: Op[T], lines: Sequence[Line]) -> T:
    """Drive *op* on a stage of its own."""
    return Stage().play(op, lines)


def _fits(expected: str | type | Request, request: Request) -> bool:
    if isinstance(expected, str):
        return isinstance(request, Call) and request.script == expected
    if isinstance(expected, type):
        return isinstance(request, expected)
    return request == expected


def _lasts(request: Request, answer: Any, now: float) -> float:
    """Return how long *request* takes by itself."""
    if isinstance(request, Rest) and answer is None:
        assert math.isfinite(request.until), "a rest without an end: say what it took"
        return max(0.0, request.until - now)
    if isinstance(request, Wait) and answer is None:
        return request.timeout
    return 0.0
