"""A call as the core makes it, and a word of an answer, each with what it must mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coordkit._core.keys import lock_keys
from coordkit._core.ops import Call, Op, Pipeline
from core.props import RID, TOKEN
from core.script import Line, Stage

KEYS = lock_keys("ns", "jobs")
WAKE = "ck:1:ns:wake:"
#: What the same word stands for in many headers.
VALUES: dict[str, Any] = {
    "rid": RID,
    "token": TOKEN,
    "identity": "me",
    "meta": '{"a":1}',
    "wake": WAKE,
}


class Asked(NamedTuple):
    """A call, and what each word of the script's header stands for in it."""

    call: Call
    #: each has a value of its own, so that it is seen to stand in its place
    values: Mapping[str, Any]
    #: what the kinds of its keys begin with, and the header leaves out
    of: str = ""
    #: what is said to the same script in other calls only
    unsaid: frozenset[str] = frozenset()
    #: it has as many arguments more as there are
    lists: bool = False


class Word(NamedTuple):
    """A word of an answer: to what it is said, what follows it, and what it means."""

    script: str
    answer: list[Any]
    op: Callable[[], Op[Any]]
    #: the type of the result or of the error, or the reason of a loss
    means: Any
    then: tuple[Line, ...] = ()
    before: tuple[Line, ...] = ()
    #: it comes with the others of one trip
    trip: bool = False

    @property
    def word(self) -> str:
        first: Any = self.answer[0]
        return str((first[0] if isinstance(first, list) else first).decode())


def last_call(op: Op[Any], *lines: Line) -> Call:
    """The script that *op* calls after these lines."""
    call = Stage().upto(op, lines)
    if isinstance(call, Pipeline):
        (call,) = call.calls
    assert isinstance(call, Call)
    return call
