"""Fences: what checks tokens, and keeps what is written with them."""

from __future__ import annotations

from typing import Any

from coordkit._core.fence import Guard
from coordkit._core.keys import fence_keys
from coordkit._core.lanes import REMEMBERED_MS, Lanes
from coordkit._core.ops import Op
from coordkit.errors import Overtaken, StaleToken, Unreachable
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import TOKEN

VALUES = said.VALUES | {
    "seq": 1,
    "memo_ms": REMEMBERED_MS,
    "what": "set",
    "written": b"seven",
    "if_is": "equal",
    "expected": b"six",
    "ttl_ms": 1500,
}
OF_A_JOURNAL = VALUES | {"expected": 8, "entry": b"seven", "keep": 50}


def a_fence() -> Guard:
    return Guard("jobs", fence_keys("ns", "jobs"), Lanes(), 2.0)


def checking() -> Op[Any]:
    return a_fence().check(7)


def swapping() -> Op[Any]:
    return a_fence().cas("total", b"7", b"6", 7)


def appending() -> Op[Any]:
    return a_fence().append(b"7", 7, 8, 10)


ASKED = [
    Asked(last_call(a_fence().check(TOKEN)), VALUES),
    Asked(last_call(a_fence().get("total")), VALUES),
    Asked(last_call(a_fence().cas("total", b"seven", b"six", TOKEN, 1.5)), VALUES),
    Asked(last_call(a_fence().append(b"seven", TOKEN, 8, 50)), OF_A_JOURNAL),
    Asked(last_call(a_fence().journal(8, 10)), {"first": 9, "limit": 10}),
]
WORDS = [
    Word("fence_check", [b"admitted", b"7"], checking, None),
    Word("fence_check", [b"stale", b"9"], checking, StaleToken),
    Word("fence_write", [b"done", b"7"], swapping, bool),
    Word("fence_write", [b"differs", b"7"], swapping, bool),
    Word("fence_write", [b"stale", b"9"], swapping, StaleToken),
    Word("fence_write", [b"gone", b"9"], swapping, Unreachable),
    Word("fence_append", [b"appended", b"9"], appending, int),
    Word("fence_append", [b"overtaken", b"9"], appending, Overtaken),
    Word("fence_append", [b"stale", b"9"], appending, StaleToken),
    Word("fence_append", [b"gone"], appending, Unreachable),
]
