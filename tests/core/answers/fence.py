"""Fences: what checks tokens."""

from __future__ import annotations

from typing import Any

from coordkit._core.fence import Guard
from coordkit._core.keys import guard_key
from coordkit._core.ops import Op
from coordkit.errors import StaleToken
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import TOKEN

FENCE = Guard("jobs", guard_key("ns", "jobs"), 2.0)
VALUES = said.VALUES | {"field": "total", "value": b"seven"}


def admitting() -> Op[Any]:
    return FENCE.check(7)


ASKED = [
    Asked(last_call(FENCE.set("total", b"seven", TOKEN)), VALUES),
    Asked(last_call(FENCE.get("total")), VALUES),
]
WORDS = [
    Word("fence_check", [b"admitted", b"7"], admitting, None),
    Word("fence_check", [b"stale", b"9"], admitting, StaleToken),
]
