"""
What an operation may ask of the world.

An operation is a generator: it yields a request, is sent the `Reply`, and
returns its result; one that is iterated over tells its results on the way.  It
reads no clock, opens no socket, starts no thread; a driver does that for it.  Three
drivers obey: `_io.blocking` in the calling thread, `_io.aio` on the event loop, and
the simulator of the tests.

A driver answers a request with a `Reply`, or throws into the operation:
`Unreachable` when no answer came, stamped with the instants as a reply is; another
`CoordError` when the server said no; and whatever interrupted the caller
(`KeyboardInterrupt`, `CancelledError`).
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Call(NamedTuple):
    """Run the Lua script of this name; wait at most *timeout* seconds for its answer."""

    script: str
    keys: tuple[str, ...]
    args: tuple[str | bytes | int, ...]
    timeout: float


class Pipeline(NamedTuple):
    """
    Run several scripts in one trip (reply: a list, one value a call).

    A call that the server refused has the `CoordError` in its place, so that
    one bad key never disturbs the others.
    """

    calls: tuple[Call, ...]
    timeout: float


class Listen(NamedTuple):
    """
    From now until the operation ends, keep every wake for *rid* (reply: None).

    With a *channel*, what is published there wakes this *rid*, too; it may be asked
    again, for one channel more each time.
    """

    rid: str
    timeout: float
    channel: str = ""


class Wait(NamedTuple):
    """
    Block until woken for *rid*, at most *timeout* seconds.

    The reply is what the wake said besides the rid, perhaps "", or None when there
    was none; of several, what the last one said.  A driver may end the wait early,
    with None, whenever a wake may have been lost: when the connection for them is
    lost, when it stands again, and when a channel is heard from now on.  A wake that
    came between `Listen` and here ends the wait at once.
    """

    rid: str
    timeout: float


class Rest(NamedTuple):
    """Do nothing until that instant, or until stirred (reply: True if told to stop)."""

    until: float


class Tell(NamedTuple):
    """Hand *value* to whoever iterates over the operation; go on when it wants more."""

    value: Any


class Defer(NamedTuple):
    """Have the keeper make this call when the server answers again, until then at most."""

    call: Call
    until: float


class Reply(NamedTuple):
    """What came back, and the instants between which it happened."""

    value: Any
    asked_at: float
    heard_at: float


Request: TypeAlias = Call | Pipeline | Listen | Wait | Rest | Tell | Defer
Op: TypeAlias = Generator[Request, Reply, T]


def ended(op: Op[Any]) -> bool:
    """Whether *op* has come to its end: then an error out of it is what came of it."""
    return inspect.getgeneratorstate(op) == inspect.GEN_CLOSED
