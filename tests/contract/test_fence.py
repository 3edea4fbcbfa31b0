"""The smallest checker of tokens: a fence."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place
from coordkit import (
    AsyncSession,
    CoordError,
    Entry,
    KeyConflict,
    Overtaken,
    StaleToken,
)
from coordkit._core.keys import fence_keys


@everywhere
async def test_a_stale_holder_is_refused(s: AsyncSession, s2: AsyncSession) -> None:
    old = await s.lock("it").acquire()
    mine, theirs = s.fence("file"), s2.fence("file")
    await mine.set("cursor", "1", token=old.token)
    await s2.lock("it").break_()
    async with s2.lock("it").acquire() as new:
        await theirs.set("cursor", "2", token=new.token)
        with pytest.raises(StaleToken, match=f"'file' is stale: {new.token}") as stale:
            await mine.set("cursor", "3", token=old.token)
        assert (stale.value.token, stale.value.seen) == (old.token, new.token)
        assert stale.value.name == "file"
        assert isinstance(stale.value, CoordError)
        with pytest.raises(StaleToken):
            await mine.check(old.token)
        assert await mine.get("cursor") == b"2"
        assert await mine.seen() == new.token
        await theirs.set("cursor", "4", token=new.token)
    with pytest.raises(CoordError):
        await old.release()


async def test_what_was_never_written(s: AsyncSession) -> None:
    fence = s.fence("it")
    assert await fence.get("field") is None
    assert await fence.seen() == 0
    await fence.check(5)
    assert await fence.seen() == 5
    assert await fence.get("field") is None


async def test_tokens_are_exact(s: AsyncSession) -> None:
    fence = s.fence("it")
    for token in (1, 999_999_999_999_999, 2**53 - 1, 2**53):
        await fence.check(token)
        assert await fence.seen() == token
        if token > 1:
            with pytest.raises(StaleToken) as stale:
                await fence.check(token - 1)
            assert stale.value.seen == token
        await fence.check(token)


async def test_values_come_back_as_they_were(s: AsyncSession) -> None:
    fence = s.fence("it")
    for field, value in (
        ("text", "é💥\n"),
        ("bytes", bytes(range(256))),
        ("empty", ""),
        ("seen", "not the token"),
        ("largest", b"x" * 65_536),
        ("é {} *", "a name of every kind"),
    ):
        await fence.set(field, value, token=7)
        stored = value.encode() if isinstance(value, str) else value
        assert await fence.get(field) == stored
    assert await fence.seen() == 7


async def test_fences_do_not_touch_each_other_nor_a_lock(
    s: AsyncSession, elsewhere: AsyncSession
) -> None:
    await s.fence("it").check(1000)
    await s.fence("it:field").check(1)
    await elsewhere.fence("it").check(1)
    async with s.lock("it").acquire(timeout=0) as lease:
        await s.fence("it").check(lease.token)
    assert await s.locks() == []


async def test_many_writers_and_the_last_token_wins(api: Api, s: AsyncSession) -> None:
    fence = s.fence("it")

    async def write(token: int) -> None:
        try:
            await fence.set("by", str(token), token=token)
        except StaleToken as stale:
            assert stale.seen > token  # noqa: PT017 -- it may or may not be raised

    await api.all(*(write(1 + token * 7 % 20) for token in range(20)))
    assert await fence.get("by") == b"20"


@on_redis_and_fake
async def test_a_value_has_no_ttl(place: Place, s: AsyncSession) -> None:
    fence, keys = s.fence("it"), fence_keys(s.namespace, "it")
    await fence.set("field", "value", token=7, ttl=60)
    await fence.set("field", "value", token=7)
    await fence.append("value", token=7)
    for key in (keys.guard, keys.value + "field", keys.journal):
        assert place.raw.pttl(key) == -1


@on_redis_and_fake
async def test_but_it_may_have_one(api: Api, place: Place, s: AsyncSession) -> None:
    fence, keys = s.fence("it"), fence_keys(s.namespace, "it")
    await fence.set("long", "value", token=7, ttl=timedelta(hours=1))
    assert 3_590_000 < place.raw.pttl(keys.value + "long") <= 3_600_000
    await fence.set("short", "value", token=7, ttl=0.05)
    await fence.cas("swapped", "value", expected=None, token=7, ttl=0.05)
    await api.until(lambda: not place.raw.exists(keys.value + "short"))
    assert await fence.get("short") is None
    await api.until(lambda: not place.raw.exists(keys.value + "swapped"))
    assert await fence.cas("swapped", "again", expected=None, token=7)
    assert await fence.get("long") == b"value"
    assert await fence.seen() == 7, "which lasts"


@everywhere
async def test_delete_and_cas(s: AsyncSession, s2: AsyncSession) -> None:
    mine, theirs = s.fence("it"), s2.fence("it")
    assert await mine.cas("field", "1", expected=None, token=7)
    assert not await theirs.cas("field", "2", expected=None, token=7)
    assert not await theirs.cas("field", "2", expected="0", token=7)
    assert await theirs.get("field") == b"1"
    assert await theirs.cas("field", b"\x00\xff", expected=b"1", token=7)
    assert await mine.cas("field", "", expected=b"\x00\xff", token=8)
    assert await mine.cas("field", "x", expected="", token=8)
    with pytest.raises(StaleToken):
        await theirs.cas("field", "2", expected="x", token=7)
    with pytest.raises(StaleToken):
        await theirs.delete("field", token=7)
    assert await mine.get("field") == b"x"
    await mine.delete("field", token=8)
    assert await mine.get("field") is None
    await mine.delete("field", token=9)
    assert await theirs.seen() == 9, "a token is admitted, whatever there is to delete"
    assert not await theirs.cas("field", "2", expected="x", token=10)
    assert await theirs.seen() == 10


async def test_fields_and_fences_are_told_apart(s: AsyncSession) -> None:
    for fence, field in (("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a:b:c", "x")):
        await s.fence(fence).set(field, f"{fence} {field}", token=7)
    for fence, field in (("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a:b:c", "x")):
        assert await s.fence(fence).get(field) == f"{fence} {field}".encode()


async def test_who_swaps_counts_right(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    async def swap(session: AsyncSession) -> int:
        fence = session.fence("it")
        for tries in range(200):
            stands = await fence.get("n")
            value = str(int(stands or 0) + 1)
            if await fence.cas("n", value, expected=stands, token=7):
                return tries
        raise AssertionError("others are always faster")

    await api.all(*(swap(each) for each in (s, s2) * 5))
    assert await s.fence("it").get("n") == b"10"


# -- the journal -------------------------------------------------------------------------


@everywhere
async def test_a_journal_has_what_was_appended_in_order(
    s: AsyncSession, s2: AsyncSession
) -> None:
    mine, theirs = s.fence("it"), s2.fence("it")
    assert await mine.journal() == []
    assert await mine.last() == 0
    assert await mine.append("one", token=7) == 1
    assert await theirs.append(b"\x00\xff", token=9) == 2
    with pytest.raises(StaleToken) as stale:
        await mine.append("late", token=8)
    assert stale.value.seen == 9
    assert await mine.append("", token=2**53) == 3
    assert await theirs.last() == 3
    assert await theirs.journal() == [
        Entry(1, 7, b"one"),
        Entry(2, 9, b"\x00\xff"),
        Entry(3, 2**53, b""),
    ]
    assert [entry.number for entry in await mine.journal(after=1)] == [2, 3]
    assert [entry.number for entry in await mine.journal(after=1, limit=1)] == [2]
    assert await mine.journal(after=3) == await mine.journal(after=99) == []
    with pytest.raises(StaleToken):
        await mine.check(9)


async def test_who_expects_another_last_entry_is_overtaken(s: AsyncSession) -> None:
    fence = s.fence("it")
    assert await fence.append("one", token=7, expected=0) == 1
    for expected in (0, 2, 2**53):
        with pytest.raises(Overtaken, match=f"is 1, not {expected}: nothing") as told:
            await fence.append("two", token=7, expected=expected)
        assert (told.value.name, told.value.last) == ("it", 1)
    assert await fence.append("two", token=7, expected=1) == 2
    assert len(await fence.journal()) == 2


async def test_of_many_who_expect_the_same_one_appends(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    async def append(session: AsyncSession, n: int) -> int:
        try:
            return await session.fence("it").append(str(n), token=7, expected=0)
        except Overtaken:
            return 0

    numbers = await api.all(*(append(each, n) for n, each in enumerate((s, s2) * 5)))
    assert sorted(numbers) == [0] * 9 + [1]
    assert len(await s.fence("it").journal()) == 1


async def test_old_entries_are_forgotten(s: AsyncSession) -> None:
    fence = s.fence("it")
    for n in range(1, 31):
        assert await fence.append(str(n), token=7, keep=10) == n
    entries = await fence.journal(after=5)
    assert [entry.number for entry in entries] == list(range(21, 31))
    assert await fence.append("x", token=7, keep=1) == 31
    assert [entry.number for entry in await fence.journal()] == [31]
    await fence.append(b"x" * 65_536, token=7)
    assert [len(entry.value) for entry in await fence.journal()] == [1, 65_536]


# -- what others did to its keys ------------------------------------------------------------


@on_redis_and_fake
async def test_a_foreign_value_at_its_keys(place: Place, s: AsyncSession) -> None:
    fence, keys = s.fence("it"), fence_keys(s.namespace, "it")
    place.raw.set(keys.guard, "mine")
    for ask in (
        fence.check(8),
        fence.get("field"),
        fence.seen(),
        fence.set("field", "x", token=8),
        fence.append("x", token=8),
    ):
        with pytest.raises(KeyConflict):
            await ask
    assert place.raw.get(keys.guard) == "mine"
    place.raw.delete(keys.guard)
    value = keys.value + "field"
    place.raw.rpush(value, "mine")
    place.raw.rpush(keys.journal, "mine")
    others: list[Coroutine[Any, Any, object]] = [
        fence.get("field"),
        fence.set("field", "x", token=8),
        fence.delete("field", token=8),
        fence.cas("field", "x", expected=None, token=8),
        fence.append("x", token=8),
        fence.journal(),
    ]
    for other in others:
        with pytest.raises(KeyConflict):
            await other
    for key in (value, keys.journal):
        assert place.raw.lrange(key, 0, -1) == ["mine"]
    assert await fence.seen() == 0, "nothing has changed"


@on_redis
async def test_repr_of_a_fence(s: AsyncSession) -> None:
    assert repr(s.fence("it")).endswith("Fence 'it'>")
    assert s.fence("it").name == "it"
