"""Cron: of all who ask for a tick, one runs it."""

from __future__ import annotations

from typing import Any

from coordkit._core.cron import Begun, Due, Plan, cron
from coordkit._core.ops import Op
from coordkit._core.runs import Seen
from coordkit._core.ticks import Every, Turn
from coordkit.errors import KeyConflict
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import RID, a_lease
from core.script import Stage

CRON = cron("ns", "jobs", 2.0)
VALUES = said.VALUES | {
    "tick": 120_000,
    "attempt": 2,
    "spec": "every 60 s",
    "kept": 64,
    "kept_ms": 400 * 86_400_000,
    "entry": "cron:jobs",
    "state": "failed",
    "code": 3,
}


def taking(tick: int, attempt: int) -> Op[Any]:
    """What takes a tick, by who has the lock."""
    due, plan = Due(Turn(tick, tick + 1), attempt), Plan(Every(60))
    return CRON._take(a_lease(Stage()), plan, "me", due, Seen(0, []))


def beginning() -> Op[Any]:
    return taking(1, 1)


def ending() -> Op[Any]:
    return CRON.end(RID, 0, patience=1.0)


ASKED = [
    Asked(last_call(CRON.look()), VALUES),
    Asked(last_call(taking(120_000, 2)), VALUES),
    Asked(last_call(CRON.end(RID, 3, patience=1.0)), VALUES),
]
WORDS = [
    Word("cron_take", [b"taken", b"5"], beginning, Begun),
    Word("cron_take", [b"not held"], beginning, KeyConflict),
    Word("cron_end", [b"ended"], ending, bool),
    Word("cron_end", [b"gone"], ending, bool),
]
