"""The decorator: of all processes, one at a time runs the function."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from contract.flavours import Api, real
from contract.marks import on_redis, only_async, only_sync
from contract.places import Place
from coordkit import AsyncLease, AsyncSession, LeaseLost, LockTimeout


async def test_one_at_a_time_runs_it(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    @s.singleton("it")
    async def work(a: int, *, b: int = 2) -> int:
        """Work."""
        assert await s2.lock("it").try_acquire() is None
        return a + b

    assert await work(1) == 3
    assert await work(1, b=5) == 6
    assert place.untouched(s.lock("it"))
    assert (work.__name__, work.__doc__) == ("work", "Work.")
    async with s2.lock("it").acquire():
        with pytest.raises(LockTimeout, match="'it' was not free within 0 s"):
            await work(1)


async def test_who_is_busy_elsewhere_may_be_skipped(
    s: AsyncSession, s2: AsyncSession
) -> None:
    ran: list[int] = []

    @s.singleton("it", busy="skip")
    async def work() -> int:
        ran.append(1)
        return 5

    async with s2.lock("it").acquire():
        assert await work() is None
    assert ran == []
    assert await work() == 5


async def test_it_may_wait_for_its_turn(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    @s.singleton("it", timeout=5)
    async def work() -> str:
        return "done"

    lease = await s2.lock("it").acquire()

    async def wait() -> str | None:
        return await work()

    waiting = api.start(wait())
    await api.sleep(0.02)
    assert not waiting.done()
    await lease.release()
    assert await waiting == "done"


async def test_the_lease_is_handed_in(s: AsyncSession) -> None:
    @s.singleton("it", ttl=7)
    async def work(a: int, lease: AsyncLease) -> AsyncLease:
        lease.check()
        assert (a, lease.ttl) == (1, 7)
        return lease

    lease = await work(1)  # type: ignore[call-arg]  # the decorator fills it in
    assert not real(lease).held


async def test_what_it_raises_goes_on(place: Place, s: AsyncSession) -> None:
    @s.singleton("it", busy="skip")
    async def work() -> None:
        raise LockTimeout("another", 1)

    with pytest.raises(LockTimeout, match="'another'"):
        await work()  # a time-out of the body is no busy lock
    assert place.untouched(s.lock("it"))


async def test_a_loss_comes_out(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    @s.singleton("it", ttl=0.3)
    async def work(lease: AsyncLease) -> None:
        await s2.lock("it").break_()
        await api.until(lambda: not lease.held)

    with pytest.raises(LeaseLost):
        await work()  # type: ignore[call-arg]  # the decorator fills it in


@on_redis
@only_async
async def test_it_is_still_a_coroutine_function(s: AsyncSession) -> None:
    @s.singleton("it")
    async def work() -> None: ...

    assert inspect.iscoroutinefunction(work)

    def not_async() -> Any: ...

    with pytest.raises(TypeError, match="not_async is not a coroutine function"):
        s.singleton("it")(not_async)


@on_redis
@only_sync
async def test_a_coroutine_function_needs_the_other_session(s: AsyncSession) -> None:
    async def work() -> None: ...

    with pytest.raises(TypeError, match=r"work is a coroutine function: use AsyncSe"):
        real(s).singleton("it")(work)


@on_redis
async def test_wrong_options(s: AsyncSession) -> None:
    with pytest.raises(ValueError, match="busy='wait' is neither 'raise' nor 'skip'"):
        s.singleton("it", busy="wait")  # type: ignore[arg-type]  # what this test is about
    with pytest.raises(ValueError, match="ttl=0 is not between"):
        s.singleton("it", ttl=0)
    with pytest.raises(ValueError, match="timeout=-1 is not between 0 and"):
        s.singleton("it", timeout=-1)
    with pytest.raises(TypeError, match="timeout is a number of seconds"):
        s.singleton("it", timeout=True)
