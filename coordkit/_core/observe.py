"""
How something that others change is observed: pushed, and never silent.

A message on its channel only says that there is something to ask for; what is true
is what the server answers.  So it is asked at first, after every message, whenever
one may have been lost, and from time to time anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import Unreachable
from .asking import FIRST_PAUSE, LONGEST_PAUSE, ask
from .ops import Call, Listen, Op, Tell, Wait
from .span import LONGEST_CALL

#: Where no message comes through at all, a change is seen so late.
EVERY = 5.0
#: What is due, but is not true yet, is not asked for more often than this.
SHORTEST_NAP = 0.01


@dataclass(frozen=True, slots=True)
class Suspended:
    """
    The server gives no answer: what was told before may be true no longer.

    *why* says what failed.  `Resumed` follows as soon as there is an answer.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """
    The server answers again, after *silent* seconds.

    What has changed meanwhile follows; nothing follows if nothing has.
    """

    silent: float


class Subject(NamedTuple):
    """What is observed: where its changes are hinted at, and how to learn of them."""

    channel: str
    #: makes the question: what is new since the last answer?
    ask: Callable[[], Call]
    #: reads the answer: what to tell, in order
    read: Callable[[Any], Iterable[Any]]
    #: in how many seconds something may change that nobody will publish
    nap: Callable[[], float] = lambda: math.inf


def observe(subject: Subject, rid: str, *, every: float = EVERY) -> Op[None]:
    """
    Tell what *subject* reads, for as long as somebody wants to know.

    While there is no answer it asks again and again, and says so: `Suspended`, then
    `Resumed`.  It ends by an error of the server only: a change that it may not see
    must not look like none.
    """
    yield from _listen(subject.channel, rid)
    silent_since: float | None = None
    pause = FIRST_PAUSE
    while True:
        try:
            reply = yield from ask(subject.ask())
        except Unreachable as exc:
            if silent_since is None:
                silent_since = exc.heard_at
                yield Tell(Suspended(str(exc)))
            yield Wait(rid, pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if silent_since is not None:
            yield Tell(Resumed(reply.heard_at - silent_since))
            silent_since, pause = None, FIRST_PAUSE
        for news in subject.read(reply.value):
            yield Tell(news)
        yield Wait(rid, min(every, max(subject.nap(), SHORTEST_NAP)))


def _listen(channel: str, rid: str) -> Op[None]:
    """Have the messages of *channel* kept.  Without them it still asks, only less often."""
    with suppress(Unreachable):
        yield Listen(rid, LONGEST_CALL, channel)
