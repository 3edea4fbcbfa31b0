"""The smallest checker of tokens: a fence."""

from __future__ import annotations

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place
from coordkit import AsyncSession, CoordError, KeyConflict, StaleToken


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
    await s.fence("it").set("field", "value", token=7)
    (key,) = place.raw.keys(f"*{s.namespace}*")
    assert place.raw.ttl(key) == -1


@on_redis_and_fake
async def test_a_foreign_value_at_its_key(place: Place, s: AsyncSession) -> None:
    fence = s.fence("it")
    await fence.check(7)
    (key,) = place.raw.keys(f"*{s.namespace}*")
    place.raw.delete(key)
    place.raw.set(key, "mine")
    for ask in (fence.check(8), fence.get("field"), fence.seen()):
        with pytest.raises(KeyConflict):
            await ask
    assert place.raw.get(key) == "mine"


@on_redis
async def test_repr_of_a_fence(s: AsyncSession) -> None:
    assert repr(s.fence("it")).endswith("Fence 'it'>")
    assert s.fence("it").name == "it"
