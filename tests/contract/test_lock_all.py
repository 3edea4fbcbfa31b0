"""Several locks at once: all or none."""

from __future__ import annotations

import time

import pytest

from contract.flavours import Api
from contract.marks import on_redis, on_redis_and_fake
from contract.places import Place
from coordkit import AsyncSession, LeaseLost, LockTimeout, NotHeld


def free(place: Place, s: AsyncSession, *names: str) -> bool:
    return all(place.untouched(s.lock(name)) for name in names)


async def test_all_of_them_are_held(place: Place, s: AsyncSession) -> None:
    async with s.lock_all(["c", "a", "b"]) as leases:
        assert list(leases) == ["a", "b", "c"]
        assert len(leases) == 3
        assert leases["a"].token < 2**53
        assert {seen.name for seen in await s.locks()} == {"a", "b", "c"}
        assert leases.held
        assert 0 < leases.remaining() <= min(leases[n].remaining() for n in leases) + 1
        leases.check()
    assert not leases.held
    assert free(place, s, "a", "b", "c")
    with pytest.raises(NotHeld):
        leases.check()


async def test_they_are_taken_in_one_order(s: AsyncSession) -> None:
    """Each one is held in its turn, whichever way they were named."""
    for names in (["b", "c", "a"], ["c", "b", "a"], ("a", "b", "c")):
        async with s.lock_all(names) as leases:
            sinces = [
                (seen.since, seen.name)
                for seen in [await s.lock(name).info() for name in names]
                if seen is not None
            ]
            assert len(sinces) == 3
            assert [name for _, name in sorted(sinces)] == ["a", "b", "c"]
            assert list(leases) == ["a", "b", "c"]


async def test_workers_that_want_the_same_never_wait_for_each_other(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    async def work(session: AsyncSession, names: list[str]) -> None:
        for _ in range(3):
            async with session.lock_all(names):
                await api.sleep(0.001)

    await api.all(
        work(s, ["a", "b"]),
        work(s2, ["b", "a"]),
        work(s, ["b", "c", "a"]),
        work(s2, ["c", "a"]),
    )


async def test_all_or_nothing(place: Place, s: AsyncSession, s2: AsyncSession) -> None:
    names = ["a", "b", "c"]
    async with s2.lock("b").acquire():
        assert await s.lock_all(names).try_acquire() is None
        assert free(place, s, "a", "c")
        with pytest.raises(LockTimeout, match="'b' was not free"):
            await s.lock_all(names).acquire(timeout=0.05)
        with pytest.raises(LockTimeout):
            await s.lock_all(names).acquire(timeout=0)
        assert free(place, s, "a", "c")
        assert place.waiting(s.lock("b")) == 0
    leases = await s.lock_all(names).try_acquire()
    assert leases is not None
    await leases.release()
    assert free(place, s, *names)
    with pytest.raises(NotHeld):
        await leases.release()


@on_redis_and_fake
async def test_the_time_is_for_all_of_them_together(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    first, second = await s2.lock("a").acquire(), await s2.lock("b").acquire()

    async def let_go() -> None:
        await api.sleep(0.2)
        await first.release()

    began = time.monotonic()
    letting_go = api.start(let_go())
    with pytest.raises(LockTimeout, match="'b'"):
        await s.lock_all(["a", "b"]).acquire(timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 0.45, "0.3 s were for both"
    await letting_go
    await second.release()


@on_redis
async def test_acquire_may_be_entered_at_once(place: Place, s: AsyncSession) -> None:
    """As every `acquire` of the API."""
    async with s.lock_all(["a", "b"]).acquire(timeout=1) as leases:
        assert leases.held
    assert free(place, s, "a", "b")


async def test_an_exception_in_the_body_goes_on(place: Place, s: AsyncSession) -> None:
    with pytest.raises(ZeroDivisionError):
        async with s.lock_all(["a", "b"]):
            raise ZeroDivisionError
    assert free(place, s, "a", "b")


async def test_one_of_them_is_lost(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async def work() -> None:
        async with s.lock_all(["a", "b", "c"], ttl=0.4) as leases:
            await s2.lock("b").break_()
            await api.until(lambda: not leases.held)

    with pytest.raises(LeaseLost) as lost:
        await work()
    assert lost.value.name == "b"
    assert free(place, s, "a", "b", "c")


async def test_a_failing_release_keeps_none_of_the_others(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    leases = await s.lock_all(["a", "b", "c"]).acquire(timeout=1)
    await s2.lock("c").break_()
    await s2.lock("a").break_()
    with pytest.raises(LeaseLost) as lost:
        await leases.release()
    assert lost.value.name == "c"
    assert "and: the lease on 'a'" in lost.value.__notes__[0]
    assert free(place, s, "a", "b", "c")


async def test_an_exception_in_the_body_wins(s: AsyncSession, s2: AsyncSession) -> None:
    async def work() -> None:
        async with s.lock_all(["a", "b"]):
            await s2.lock("a").break_()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        await work()
    assert "the lease on 'a'" in error.value.__notes__[0]


@on_redis
async def test_names_that_cannot_be(s: AsyncSession) -> None:
    with pytest.raises(TypeError, match="not one str: 'abc'"):
        s.lock_all("abc")
    with pytest.raises(ValueError, match="names is empty"):
        s.lock_all([])
    with pytest.raises(ValueError, match="'a' is named twice"):
        s.lock_all(["a", "b", "a"])
    with pytest.raises(ValueError, match="ttl=0 is not between "):
        s.lock_all(["a"], ttl=0)
    with pytest.raises(TypeError, match="a name is a str, not int: 1"):
        s.lock_all(["a", 1])  # type: ignore[list-item]  # what this test is about
    with pytest.raises(ValueError, match="timeout=-1 is not between 0"):
        await s.lock_all(["a"]).acquire(timeout=-1)


@on_redis
async def test_repr_of_several(s: AsyncSession) -> None:
    assert repr(s.lock_all(["b", "a"])).endswith("LockAll ['a', 'b']>")
    async with s.lock_all(["b", "a"]) as leases:
        assert "Leases [<" in repr(leases)
        assert repr(leases["a"])[:12] in repr(leases)
