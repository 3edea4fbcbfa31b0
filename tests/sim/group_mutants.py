"""Known wrong variants of the group; see `mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from coordkit._core import group
from coordkit._core.asking import insist
from coordkit._core.group import MemberLease
from coordkit._core.ops import Call, Op, Reply
from sim.musters import MUSTERS
from sim.mutants import Mutant as _Mutant
from sim.mutants import _renew_from_heard, edited

Mutant = partial(_Mutant, episodes=MUSTERS)


@contextmanager
def _no_undo() -> Iterator[None]:
    def undo(*_: Any) -> Op[None]:
        return
        yield  # a generator that asks nothing

    with mock.patch.object(group, "_undo", undo):
        yield


@contextmanager
def _only_the_last_question_counts() -> Iterator[None]:
    def insisted(call: Call, patience: float) -> Op[tuple[Reply, bool]]:
        return (yield from insist(call, patience)), False

    with mock.patch.object(group, "insisted", insisted):
        yield


@contextmanager
def _joined_from_heard() -> Iterator[None]:
    made: Any = MemberLease.__init__

    def late(self: Any, *args: Any, **given: Any) -> None:
        made(self, *args[:-1], given["clock"](), **given)

    with mock.patch.object(MemberLease, "__init__", late):
        yield


@contextmanager
def _nobody_comes_back() -> Iterator[None]:
    with mock.patch.object(group, "RETURNS", frozenset()):
        yield


NOW = "local now = time[1] * 1000 + math.floor(time[2] / 1000)"
#: As if it were the caller's clock: up to 300 ms off, each caller by its own.
ASKERS = f"{NOW} + (string.byte(ARGV[1]) % 7 - 3) * 100"
SILENT = "'ZRANGEBYSCORE', alive, '-inf', now, "
TOO_LATE = "if ends <= now or not pace then return why_lost(i) end"
TOKEN = "if string.match(stored or '', '^%d+') ~= ARGV[6*i-4] then return 'evicted' end"
MUTANTS = [
    Mutant(
        "a version that is not raised",
        "rough",
        lambda: edited(
            "group_report",
            ("'HINCRBY', group, 'version', 1)", "'HGET', group, 'version')"),
            ("version .. '-0'", "'*'"),
        ),
    ),
    Mutant(
        "a version that is raised for nothing",
        "rough",
        lambda: edited("group_report", ("if record ~= ARGV[3] then", "if true then")),
    ),
    Mutant(
        "a change that is not in the log",
        "orderly",
        lambda: edited("group_report", ("redis.call('XADD', log", "local _ = ('XADD'")),
    ),
    Mutant(
        "a change that is not published",
        "orderly",
        lambda: edited("group_report", ("redis.call('PUBLISH', ARGV[4], version)", "")),
    ),
    Mutant(
        "buried by the client's clock",
        "rough",
        lambda: edited("group_beat", (NOW, ASKERS)),
    ),
    Mutant(
        "buried too early",
        "rough",
        lambda: edited(
            "group_look", (SILENT, "'ZRANGEBYSCORE', alive, '-inf', now + 200, ")
        ),
    ),
    Mutant(
        "never buried by who looks",
        "rough",
        lambda: edited("group_look", (SILENT, "'ZRANGEBYSCORE', alive, '-inf', 0, ")),
    ),
    Mutant(
        "a heartbeat that brings back who was buried",
        "rough",
        lambda: edited("group_beat", (TOO_LATE, "pace = pace or 200"), (TOKEN, "")),
    ),
    Mutant(
        "a heartbeat that asks by which token",
        "evictions",
        lambda: edited("group_beat", (TOKEN, "")),
    ),
    Mutant(
        "each of many dead is told alone",
        "mass",
        lambda: edited("group_join", ("if #dead > 0 then bury(i, dead) end", "")),
    ),
    Mutant(
        "two of one identity",
        "rough",
        lambda: edited(
            "group_join",
            ("elseif other and ARGV[8*i-2] ~= '1' then return {'taken'}", ""),
            ("elseif other then displace(i, other) end", "end"),
        ),
    ),
    Mutant(
        "anybody's place is taken",
        "rough",
        lambda: edited("group_join", ("ARGV[8*i-2] ~= '1'", "false")),
    ),
    Mutant(
        "a token that is not new",
        "rough",
        lambda: edited("group_join", ("return token\nend", "return '7'\nend")),
    ),
    Mutant(
        "an old report wins",
        "ghosts",
        lambda: edited("group_report", ("tonumber(ARGV[2]) <= tonumber(seq)", "false")),
    ),
    Mutant(
        "no tombstone",
        "rough",
        lambda: edited(
            "group_leave", ("redis.call('SET', tomb, '1', 'PX', ARGV[2])", "")
        ),
    ),
    Mutant(
        "who leaves an evicted group begins it",
        "evictions",
        lambda: edited(
            "group_leave", (" or redis.call('HEXISTS', group, 'version') == 0", "")
        ),
    ),
    Mutant(
        "a log with a hole is told as it is",
        "evictions",
        lambda: edited("group_look", ("if #changes == version - since", "if true")),
    ),
    Mutant(
        "another birth goes on with the versions of the first",
        "data loss",
        lambda: edited(
            "group_look",
            ("ARGV[1] == birth and ARGV[2] or '0'", "ARGV[1] ~= '' and ARGV[2] or '0'"),
            ("if ARGV[1] == birth or ARGV[1] == '0' then", "if ARGV[1] ~= '' then"),
        ),
    ),
    Mutant("undo removed", "rough", patch=_no_undo),
    Mutant(
        "taken, though an earlier question is on its way",
        "rough",
        patch=_only_the_last_question_counts,
    ),
    Mutant("join: counted from when it was heard", "rough", patch=_joined_from_heard),
    Mutant(
        "heartbeat: counted from when it was heard", "rough", patch=_renew_from_heard
    ),
    Mutant("who was buried does not come back", "rough", patch=_nobody_comes_back),
    Mutant(
        "watchers do not look again when they hear again",
        "orderly",
        world=(("reconnect_wakes", False),),
    ),
]
