"""Counters and ids."""

from __future__ import annotations

from typing import Any

from coordkit._core.counter import Tally
from coordkit._core.ids import id_blocks
from coordkit._core.lanes import REMEMBERED_MS, Lanes
from coordkit._core.ops import Op
from coordkit.errors import KeyConflict, OutOfBounds, StaleToken, Unreachable
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import TOKEN
from core.script import Line

OF_AN_ADD = said.VALUES | {
    "seq": 1,
    "memo_ms": REMEMBERED_MS,
    "amount": 5,
    "least": -5,
    "most": 95,
    "shards": "1",
    "member": "counter:jobs",
    "kept_ms": 400 * 86_400_000,
}
OF_A_SET = OF_AN_ADD | {"value": "6", "kept_ms": 7 * 86_400_000}
OF_IDS = {"block": 100, "start": 200}


def a_counter() -> Tally:
    return Tally("ns", "jobs", 1, lanes=Lanes(), timeout=2.0, scatter=False)


def adding() -> Op[Any]:
    return a_counter().add(5, token=7, at_most=100)


def setting() -> Op[Any]:
    return a_counter().set(5, token=7)


def taking() -> Op[Any]:
    return id_blocks("ns", "jobs", block=100, start=200, timeout=2.0).take(0)


ASKED = [
    Asked(
        last_call(a_counter().add(5, token=TOKEN, at_least=0, at_most=100)), OF_AN_ADD
    ),
    Asked(last_call(a_counter().set(6, token=TOKEN)), OF_A_SET),
    Asked(last_call(a_counter().value()), {}),
    Asked(last_call(taking()), OF_IDS),
]


#: A shard is not there: the first is seen to, then it is made.
ADDED_AT_LAST: tuple[Line, ...] = (("counter_add", [b"added", b"0"]),) * 2

WORDS = [
    Word("counter_add", [b"added", b"9"], adding, int),
    Word("counter_add", [b"stale", b"9"], adding, StaleToken),
    Word("counter_add", [b"bounds", b"99"], adding, OutOfBounds),
    Word("counter_add", [b"shards", b"9"], adding, KeyConflict),
    Word("counter_add", [b"conflict", b"0"], adding, KeyConflict),
    Word("counter_add", [b"gone"], adding, Unreachable),
    Word("counter_add", [b"absent", b"0"], adding, int, ADDED_AT_LAST),
    Word("counter_set", [[b"set", b"9"]], setting, int, trip=True),
    Word("counter_set", [[b"stale", b"9"]], setting, StaleToken, trip=True),
    Word("counter_set", [[b"shards", b"9"]], setting, KeyConflict, trip=True),
    Word("counter_set", [[b"conflict"]], setting, KeyConflict, trip=True),
    Word("counter_set", [[b"gone"]], setting, Unreachable, trip=True),
    Word("ids_take", [b"taken", b"300"], taking, range),
    Word("ids_take", [b"bounds", b"300"], taking, OutOfBounds),
    Word("ids_take", [b"conflict"], taking, KeyConflict),
]
