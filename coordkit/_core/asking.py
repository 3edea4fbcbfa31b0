"""Asking again: what becomes of a question whose answer was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard, TypeVar

from ..errors import NotPermitted, Refused, Unreachable
from .ops import Call, Op, Pipeline, Reply, Rest

Q = TypeVar("Q", Call, Pipeline)

#: Pauses between questions that got no answer: doubled each time, at most the last.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
#: The last question of a caller whose time is up gets this: a round trip far away.
SHORTEST_CALL = 0.1


def ask(question: Q) -> Op[Reply]:
    """
    Ask what changes nothing; once more if the connection was closed meanwhile.

    A server that restarts, or drops what was idle, is there when asked anew.  Both
    questions together take no longer than one may.
    """
    try:
        return (yield question)
    except Unreachable as exc:
        left = question.timeout - (exc.heard_at - exc.asked_at)
        if not exc.sent or left < question.timeout / 2:
            raise
    return (yield question._replace(timeout=left))


def insist(call: Call, patience: float | None = None) -> Op[Reply]:
    """
    Ask for a change until there is an answer, for *patience* seconds or two time-outs.

    Only for scripts that answer a repetition as they answered the first time.
    """
    reply, _ = yield from insisted(call, patience)
    return reply


def insisted(call: Call, patience: float | None = None) -> Op[tuple[Reply, bool]]:
    """Insist; also return whether a question before the last may arrive yet."""
    until: float | None = None
    pause, question, unheard = FIRST_PAUSE, call, False
    while True:
        try:
            return (yield question), unheard
        except Refused as exc:
            if unheard and _is_no_to_this(exc):
                raise _in_doubt(exc) from exc
            raise
        except Unreachable as exc:
            unheard = unheard or exc.sent
            if until is None:
                until = exc.asked_at + (patience or 2 * call.timeout)
            if exc.heard_at >= until:
                raise
            rested = yield Rest(min(exc.heard_at + pause, until))
            pause = min(2 * pause, LONGEST_PAUSE)
            left = max(until - rested.heard_at, SHORTEST_CALL)
            question = call._replace(timeout=min(call.timeout, left))


def insist_all(calls: Sequence[Call]) -> Op[list[Any]]:
    """
    Ask for several changes in one trip, and again for those without an answer.

    What could not be had stands in its call's place.  Scripts as for `insist`.
    """
    answers: list[Any] = [None] * len(calls)
    left, until, pause = list(range(len(calls))), math.inf, FIRST_PAUSE
    longest = timeout = max(call.timeout for call in calls)
    unheard = set[int]()
    while True:
        trip = tuple(calls[i] for i in left)
        try:
            told, asked_at, heard_at = yield Pipeline(trip, timeout)
        except Unreachable as exc:
            told, asked_at, heard_at = [exc] * len(left), exc.asked_at, exc.heard_at
        for i, answer in zip(left, told, strict=True):
            answers[i] = answer
            if i in unheard and _is_no_to_this(answer):
                answers[i] = _in_doubt(answer)
            if isinstance(answer, Unreachable) and answer.sent:
                unheard.add(i)
        silent = zip(left, told, strict=True)
        left = [i for i, answer in silent if isinstance(answer, Unreachable)]
        until = min(until, asked_at + 2 * longest)
        if not left or heard_at >= until:
            return answers
        rested = yield Rest(min(heard_at + pause, until))
        pause = min(2 * pause, LONGEST_PAUSE)
        timeout = min(longest, max(until - rested.heard_at, SHORTEST_CALL))


def _is_no_to_this(answer: Any) -> TypeGuard[Refused]:
    """Whether it is a refusal that says nothing of a question before, still on its way."""
    return isinstance(answer, Refused) and not isinstance(answer, NotPermitted)


def _in_doubt(refused: Refused) -> Unreachable:
    return Unreachable(f"{refused}; what was asked before got no answer")
