"""What an operator asks: who has it, let go, and break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from coordkit._core.inspect import (
    BROKEN_MS,
    Holder,
    LockInfo,
    break_,
    info,
    listing,
    probe,
    revoke,
)
from coordkit._core.keys import BUCKETS, bucket_of, index_keys, lock_keys
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit.errors import CoordError, KeyConflict, Refused, Unreachable
from core.props import RID, TOKEN, no_answer
from core.script import Line, Stage, Took, play

TIMEOUT = 2.0
KEYS = lock_keys("ns", "jobs")
WAKE = "ck:1:ns:wake:"
TOKEN_TEXT = str(TOKEN).encode()
SINCE = b"1700000000500"
HELD = [b"held", 2, RID.encode(), 12_345, TOKEN_TEXT, SINCE, b"me", b'{"job":7}']
COOLING = [b"held", 0, b"", 900, TOKEN_TEXT, SINCE, b"me", b"{}"]
FREE = [b"free", 1]

FIRST, SECOND = RID[:-2] + "1s", RID[:-2] + "2s"


def record(token: int, identity: str, meta: str = "{}") -> bytes:
    return "\n".join([str(token), "1700000000500", identity, meta]).encode()


def shared(limit: bytes, *records: tuple[str, bytes]) -> list[Any]:
    answer: list[Any] = [b"shared", 3, limit]
    for rid, said in records:
        answer += [rid.encode(), 9000, said]
    return answer


def told(value: Any) -> LockInfo:
    seen = play(info("jobs", KEYS, TIMEOUT), [("lock_info", value)])
    assert seen is not None
    return seen


# -- who has it --------------------------------------------------------------------


def test_nobody() -> None:
    stage = Stage()
    assert stage.play(info("jobs", KEYS, TIMEOUT), [("lock_info", FREE)]) is None
    keys = (KEYS.lock, KEYS.alive, KEYS.holders, KEYS.records)
    assert stage.asked == [Call("lock_info", keys, (), TIMEOUT)]


def test_one_who_has_it_alone() -> None:
    me = Holder(RID, "me", TOKEN, 12.345, 1_700_000_000.5, {"job": 7})
    assert told(HELD) == LockInfo(
        "jobs", "alone", RID, "me", TOKEN, 12.345, 1_700_000_000.5, 2, {"job": 7}, (me,)
    )


def test_nobody_any_more_but_kept_taken() -> None:
    seen = told(COOLING)
    assert (seen.mode, seen.holder, seen.expires_in) == ("cooling", "", 0.9)


@pytest.mark.parametrize(
    ("limit", "mode", "at_most"),
    [(b"0", "shared", None), (b"3", "slots", 3), (3, "slots", 3)],
)
def test_several_the_one_who_has_it_longest_first(
    limit: Any, mode: str, at_most: int | None
) -> None:
    two = shared(limit, (FIRST, record(9, "a", '{"n":1}')), (SECOND, record(7, "b")))
    seen = told(two)
    assert (seen.mode, seen.limit, seen.waiters) == (mode, at_most, 3)
    assert [holder.identity for holder in seen.holders] == ["b", "a"]
    assert (seen.holder, seen.token, seen.identity) == (SECOND, 7, "b")
    assert seen.holders[1].meta == {"n": 1}


@pytest.mark.parametrize(
    "meta",
    [b"", None, b"not json", b"[1]", b"7", b"null", b"\xff", b'{"a":', b"[" * 10_000],
    ids=str,
)
def test_meta_that_is_no_object_is_none(meta: bytes | None) -> None:
    assert told([*HELD[:7], meta]).meta == {}


def test_what_is_missing_is_empty() -> None:
    seen = told([b"held", 0, b"x", -2, None, None, None, None])
    assert (seen.token, seen.since, seen.identity, seen.expires_in) == (0, 0, "", 0)
    assert told(shared(b"0", (FIRST, b""))).holders[0].token == 0


def test_a_line_in_meta_ends_no_record() -> None:
    assert told(shared(b"0", (FIRST, record(7, "a", '{"t":\n"x"}')))).meta == {"t": "x"}


@pytest.mark.parametrize("value", [told(HELD), told(HELD).holders[0]])
def test_what_was_seen_cannot_be_changed(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.token = 1


# -- all of them -------------------------------------------------------------------


def indexes(*members: bytes) -> list[list[bytes]]:
    """What the indexes of all buckets answer when they hold these."""
    answer: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    for member in members:
        answer[bucket_of(member.decode().partition(":")[2])].append(member)
    return answer


def test_the_listing_reads_every_index_then_every_lock() -> None:
    stage = Stage()
    found = indexes(b"lock:jobs", b"lock:a:b", b"ring:other")
    lines: list[Line] = [(Pipeline, found), (Pipeline, [FREE, HELD])]
    (seen,) = stage.play(listing("ns", TIMEOUT), lines)
    assert seen.name == "jobs"
    first, second = stage.asked
    assert isinstance(first, Pipeline)
    assert isinstance(second, Pipeline)
    assert [call.keys for call in first.calls] == [(key,) for key in index_keys("ns")]
    assert {call.script for call in first.calls} == {"index_list"}
    assert [call.keys[0] for call in second.calls] == [
        lock_keys("ns", "a:b").lock,
        KEYS.lock,
    ]


def test_an_empty_listing_costs_one_trip() -> None:
    assert play(listing("ns", TIMEOUT), [(Pipeline, indexes())]) == []


def test_one_foreign_key_hides_no_other() -> None:
    lines: list[Line] = [
        (Pipeline, indexes(b"lock:jobs", b"lock:odd", b"lock:zz")),
        (Pipeline, [HELD, KeyConflict("odd"), HELD]),
    ]
    assert [seen.name for seen in play(listing("ns", TIMEOUT), lines)] == ["jobs", "zz"]


def test_a_foreign_token_hides_no_other() -> None:
    odd = [b"held", 0, b"who", 1, b"a token?", SINCE, b"", b""]
    lines: list[Line] = [
        (Pipeline, indexes(b"lock:jobs", b"lock:odd")),
        (Pipeline, [HELD, odd]),
    ]
    assert [seen.name for seen in play(listing("ns", TIMEOUT), lines)] == ["jobs"]


@pytest.mark.parametrize("error", [Refused("no"), KeyConflict("no")])
def test_an_index_that_cannot_be_read_is_told(error: CoordError) -> None:
    """Else what it lists would seem to be free."""
    found: list[Any] = indexes(b"lock:jobs")
    found[200] = error
    with pytest.raises(type(error)):
        play(listing("ns", TIMEOUT), [(Pipeline, found)])


# -- break and revoke ----------------------------------------------------------------


def breaking(holder: str | None = None) -> Op[LockInfo | None]:
    return break_("jobs", "ns", WAKE, holder, TIMEOUT)


def revoking() -> Op[LockInfo | None]:
    return revoke("jobs", "ns", TIMEOUT)


both = pytest.mark.parametrize("op", [breaking, revoking])


@both
def test_what_nobody_has_cannot_be_taken(op: Callable[[], Op[Any]]) -> None:
    assert play(op(), [("lock_info", FREE)]) is None


def test_break_takes_it_from_the_holder_that_was_seen() -> None:
    stage = Stage()
    lines: list[Line] = [("lock_info", HELD), ("lock_break", [b"broken"])]
    assert stage.play(breaking(), lines) == told(HELD)
    call = stage.calls()[1]
    assert call.keys[:3] == (KEYS.lock, KEYS.queue, KEYS.tomb + RID)
    # The tombstone outlives what the lease could still have lasted.
    assert call.args == (RID, 12_345 + BROKEN_MS, "lock:jobs", WAKE)


def test_break_takes_it_from_all_who_share_it() -> None:
    stage = Stage()
    two = shared(b"0", (FIRST, record(9, "a")), (SECOND, record(7, "b")))
    broken: Line = ("lock_break", [b"broken"])
    stage.play(breaking(), [("lock_info", two), broken, broken])
    assert [call.args[0] for call in stage.calls()[1:]] == [SECOND, FIRST]


def test_what_was_released_meanwhile_was_not_broken() -> None:
    lines: list[Line] = [("lock_info", HELD), ("lock_break", [b"not held"])]
    assert play(breaking(), lines) is None


def test_break_takes_it_from_the_named_holder_only() -> None:
    stage = Stage()
    two = shared(b"0", (FIRST, record(9, "a")), (SECOND, record(7, "b")))
    lines: list[Line] = [("lock_info", two), ("lock_break", [b"broken"])]
    assert stage.play(breaking(FIRST), lines)
    assert stage.calls()[1].args[0] == FIRST


def test_break_leaves_it_with_anybody_but_the_named_holder() -> None:
    assert play(breaking("somebody else"), [("lock_info", HELD)]) is None


def test_what_is_kept_of_a_foreign_holder_is_a_conflict() -> None:
    odd = [b"held", 0, b"who", 1, b"a token?", SINCE, b"", b""]
    with pytest.raises(KeyConflict, match="what is kept of holder 'who' is not ours"):
        play(info("jobs", KEYS, TIMEOUT), [("lock_info", odd)])


def test_revoke_asks_every_holder() -> None:
    stage = Stage()
    two = shared(b"2", (FIRST, record(9, "a")), (SECOND, record(7, "b")))
    asked: Line = ("lock_revoke", [b"asked"])
    seen = stage.play(revoking(), [("lock_info", two), asked, asked])
    assert seen is not None
    assert len(seen.holders) == 2
    keys = (KEYS.lock, KEYS.holders, KEYS.records)
    assert stage.asked[1:] == [
        Call("lock_revoke", keys, (rid, "asked"), TIMEOUT) for rid in (SECOND, FIRST)
    ]


def test_what_was_released_meanwhile_was_not_asked() -> None:
    lines: list[Line] = [("lock_info", HELD), ("lock_revoke", [b"not held"])]
    assert play(revoking(), lines) is None


@both
def test_no_answer_is_no_success(op: Callable[[], Op[Any]]) -> None:
    silent: Line = (Call, Took(TIMEOUT, no_answer()))
    with pytest.raises(Unreachable):
        play(op(), [("lock_info", HELD), silent, (Rest, None), silent])


def test_probe_asks_something_that_changes_nothing() -> None:
    stage = Stage()
    stage.play(probe("ns", TIMEOUT), [("index_list", [])])
    assert stage.asked == [Call("index_list", ("ck:1:ns:{00}:index",), (), TIMEOUT)]
