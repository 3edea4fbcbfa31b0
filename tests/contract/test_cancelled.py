"""Tasks that are cancelled, at any turn of the loop, leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import CLUSTER, only_async
from contract.places import Place, keys_of, take
from coordkit import AsyncLease, AsyncLock, AsyncSession, CoordError, LockTimeout

pytestmark = [
    only_async,
    pytest.mark.parametrize("place", ["redis", "fakeredis", CLUSTER], indirect=True),
]
#: No case needs so many turns.
FAR = 3000


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Whether it was; what it was given instead, it gives back itself."""
    task.cancel()
    try:
        given = await task
    except asyncio.CancelledError:
        return True
    if isinstance(given, AsyncLease):
        await given.release()
    return False


async def at_every_turn(
    work: Callable[[], Coroutine[Any, Any, object]],
    after: Callable[[], Coroutine[Any, Any, None]],
    *,
    step: int = 1,
    most: int = FAR,
) -> int:
    """Cancel *work* one turn of the loop later each time; return how often it was."""
    count = 0
    for n in range(0, most, step):
        task = asyncio.create_task(work())
        await turns(n)
        if task.done():
            given = task.result()
            if isinstance(given, AsyncLease):
                await given.release()
            return count
        count += await cancelled(task)
        await after()
    return count


async def test_acquiring(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it", ttl=60)
    await take_and_release(lock)

    async def nothing_is_left() -> None:
        assert place.untouched(lock)

    for work in (lock.acquire(timeout=5).__aenter__, lock.try_acquire, waiting(lock)):
        assert await at_every_turn(work, nothing_is_left) > 1


def waiting(lock: AsyncLock) -> Callable[[], Coroutine[Any, Any, AsyncLease]]:
    return lambda: take(lock)


async def take_and_release(lock: AsyncLock) -> None:
    async with lock.acquire(timeout=2):
        pass


async def test_the_whole_of_it(place: Place, s: AsyncSession) -> None:
    """Taken, used and given back: wherever it is cancelled, soon it is free."""
    lock = s.lock("it", ttl=60)
    await take_and_release(lock)

    async def entered() -> None:
        async with lock:
            await asyncio.sleep(0)

    async def soon_free() -> None:
        await take_and_release(lock)
        assert place.untouched(lock)

    for work in (entered, lambda: take_and_release(lock)):
        assert await at_every_turn(work, soon_free) > 2


async def test_releasing(place: Place, s: AsyncSession) -> None:
    """What was begun is done, if need be by the keeper."""
    lock = s.lock("it", ttl=60)
    for n in range(1, 60):  # at 0 it has not begun
        lease = await lock.acquire(timeout=5)
        task = asyncio.create_task(lease.release())
        await turns(n)
        done = task.done()
        await cancelled(task)
        await take_and_release(lock)
        assert not lease.held
        if done:
            break


async def test_waiting(place: Place, s: AsyncSession, s2: AsyncSession) -> None:
    mine, lock = s.lock("it", ttl=60), s2.lock("it", ttl=60, waiter_ttl=40)

    async def nobody_waits() -> None:
        assert place.waiting(lock) == 0

    async with mine.acquire():
        # the first one opens the line on which wakes come
        assert await at_every_turn(waiting(lock), nobody_waits, most=120) == 120
        for milliseconds in range(0, 20, 2):
            task = asyncio.create_task(take(lock))
            await asyncio.sleep(milliseconds / 1000)
            assert await cancelled(task)
            await nobody_waits()
    await take_and_release(lock)
    assert place.untouched(lock)


async def test_the_line_is_opened(
    api: Api, place: Place, s: AsyncSession, namespace: str
) -> None:
    """Each time by another session; the next waiter of it is woken all the same."""
    lock = s.lock("it", ttl=60)
    for n in range(0, 60, 3):
        session = api.session(place.where(api), namespace=namespace)
        other = session.lock("it", ttl=60, waiter_ttl=40)
        lease = await lock.acquire(timeout=2)
        await session.ping()
        task = asyncio.create_task(take(other))
        await turns(n)
        assert await cancelled(task)
        assert place.waiting(other) == 0
        task = asyncio.create_task(take(other))
        await api.until(lambda other=other: place.waiting(other) == 1)  # type: ignore[misc]  # its default
        await lease.release()
        async with asyncio.timeout(1.0):
            await (await task).release()
        await session.close()


async def test_at_the_moment_of_the_grant(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    mine, lock = s.lock("it", ttl=60), s2.lock("it", ttl=60, waiter_ttl=40)
    granted = 0
    for n in range(80):
        lease = await mine.acquire(timeout=2)
        task = asyncio.create_task(take(lock))
        await api.until(lambda: place.waiting(lock) == 1, every=0.0005)
        releasing = asyncio.create_task(lease.release())
        await turns(n)
        granted += not await cancelled(task)
        await releasing
        assert place.untouched(lock)
    assert granted < 80


async def test_twice(api: Api, place: Place, s: AsyncSession, s2: AsyncSession) -> None:
    """The second time while it gives up: then the keeper does that."""
    lock = s2.lock("it", ttl=60, waiter_ttl=40)
    await take_and_release(lock)
    for between in range(6):
        for n in range(0, 24, 2):
            task = asyncio.create_task(take(lock))
            await turns(n)
            task.cancel()
            await turns(between)
            await cancelled(task)
            await api.until(lambda: place.untouched(lock), timeout=2)
    holder = await s.lock("it", ttl=60).acquire(timeout=2)
    for between in range(6):
        task = asyncio.create_task(take(lock))
        await asyncio.sleep(0.003)
        task.cancel()
        await turns(between)
        await cancelled(task)
        await api.until(lambda: place.waiting(lock) == 0, timeout=2)
    await holder.release()
    assert place.raw.exists(keys_of(lock).lock) == 0


async def test_several_locks_at_once(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    together = s.lock_all(["a", "b", "c"], ttl=60)
    async with together:
        pass

    async def work() -> None:
        async with together:
            await asyncio.sleep(0)

    async def soon_free() -> None:
        for name in "abc":
            await take_and_release(s2.lock(name))
            assert place.untouched(s2.lock(name))

    assert await at_every_turn(work, soon_free, step=3) > 1


async def test_a_timeout_of_asyncio_is_a_cancellation(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", waiter_ttl=40)
    async with s.lock("it").acquire():
        with pytest.raises(TimeoutError) as error:
            async with asyncio.timeout(0.03):
                await lock.acquire()
        assert not isinstance(error.value, (LockTimeout, CoordError))
        assert place.waiting(lock) == 0
    await take_and_release(lock)


async def test_one_of_a_group_fails(place: Place, s: AsyncSession) -> None:
    """The others of the group are cancelled: those that hold, wait or ask."""
    lock = s.lock("it", ttl=60, waiter_ttl=40)

    async def hold() -> None:
        async with lock:
            await asyncio.sleep(5)

    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(hold())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as failed:
        await together()
    assert failed.group_contains(ZeroDivisionError)
    assert place.untouched(lock)
