"""What is left after ten thousand cycles, and after the end of a session."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from contract.flavours import Api, Asyncio, real
from contract.marks import everywhere, on_redis, on_redis_and_fake, only_async
from contract.places import Place, keys_of, take
from coordkit import (
    AsyncLock,
    AsyncSession,
    LeaseLost,
    LockTimeout,
    NotHeld,
    Reason,
    State,
)

DESCRIPTORS = Path("/dev/fd")
pytestmark = pytest.mark.skipif(
    not DESCRIPTORS.is_dir(), reason="descriptors cannot be counted"
)


def footprint(api: Api, place: Place) -> dict[str, int]:
    """Return what there is of everything that could leak."""
    gc.collect()
    connections = place.raw.info("clients")["connected_clients"]
    tasks = len(asyncio.all_tasks()) if isinstance(api, Asyncio) else 0
    return {
        "threads": threading.active_count(),
        "tasks": tasks,
        "descriptors": len(list(DESCRIPTORS.iterdir())),
        "connections": connections,
    }


def kept(session: AsyncSession) -> int:
    """Return how many things a session remembers that are no longer of use."""
    engine: Any = session._engine
    return len(engine.keeper._leases) + len(engine._line._boxes)


async def cycles(
    api: Api, count: int, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do *work* so often: by tasks in parallel, as they come; by one thread alone."""

    async def some(count: int) -> None:
        for _ in range(count):
            await work()

    if isinstance(api, Asyncio):
        await api.all(*(some(count // 50) for _ in range(50)))
    else:
        await some(count)


@pytest.mark.slow
@on_redis
async def test_ten_thousand_cycles(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    number = 0

    async def cycle() -> None:
        nonlocal number
        number += 1
        async with s.lock(f"it {number}").acquire(timeout=10):
            pass

    async with s2.lock("taken").acquire():
        await warm_up(api, s, s2)
        await cycles(api, 100, cycle)
        before = footprint(api, place)
        await cycles(api, 10_000, cycle)
        assert number == 10_100
        assert footprint(api, place) == before
        assert kept(s) == 0
        assert len(s._engine.keeper._heap) < 1000
    bounded(place, s)


async def warm_up(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    """Have every connection opened that there will be."""
    async with s.lock("a").acquire() as lease, s2.lock("b").acquire():
        with pytest.raises(LockTimeout):
            await s.lock("taken").acquire(timeout=0.01)
        await lease.renew()
        lease._engine.keeper.defer(_harmless(s), lease.deadline)
        lease._engine._keeping.stir()
        await api.until(lambda: not lease._engine.keeper._deferred)


def _harmless(s: AsyncSession) -> Any:
    from coordkit._core.inspect import _info_call

    return _info_call(keys_of(s.lock("a")), 2.0)


def bounded(place: Place, s: AsyncSession) -> None:
    """Check that nothing is left of names that were used once but what ends soon."""
    left: list[str] = place.raw.keys(f"*:{s.namespace}:*")
    tombs = [key for key in left if ":tomb:" in key]
    others = [key for key in left if ":tomb:" not in key]
    assert len(others) <= 512, "a fence and an index for each bucket"
    pipe = place.raw.pipeline()
    for key in tombs:
        pipe.pttl(key)
    # -2: gone meanwhile; a minute is how long one that was given up may come late
    assert all(0 < ttl <= 60_000 or ttl == -2 for ttl in pipe.execute())


@pytest.mark.slow
@on_redis
async def test_a_thousand_cycles_that_wait(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async def granted() -> None:
        async with s.lock("it").acquire(timeout=10):
            await api.sleep(0)

    async def refused() -> None:
        with pytest.raises(LockTimeout):
            await s.lock("taken").acquire(timeout=0.001)

    async with s2.lock("taken").acquire():
        await warm_up(api, s, s2)
        await api.all(*(granted() for _ in range(8)))
        before = footprint(api, place)
        for _ in range(100):
            await api.all(*(granted() for _ in range(8)), refused(), refused())
        assert kept(s) == 0
        if isinstance(api, Asyncio):
            assert footprint(api, place) == before
        else:
            # as many connections as threads have asked at once, and no more
            after = footprint(api, place)
            assert after["threads"] == before["threads"]
            assert after["connections"] <= before["connections"] + 10
    bounded(place, s)


@pytest.mark.slow
@on_redis
async def test_a_hundred_sessions(api: Api, place: Place, namespace: str) -> None:
    async def one() -> None:
        session = api.session(place.where(api), namespace=namespace)
        async with session.lock("it").acquire():
            with pytest.raises(LockTimeout):
                await session.lock("it").acquire(timeout=0.001)
        await session.close()

    await one()
    before = footprint(api, place)
    for _ in range(100):
        await one()
    await api.until(lambda: footprint(api, place) == before)


# -- the end of a session ------------------------------------------------------------


@everywhere
async def test_a_session_that_is_closed_gives_back_what_it_holds(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async with s:
        leases = [await s.lock(name).acquire() for name in "abc"]
        leases.append(await s.lock("shared", shared=True).acquire())
        leases[0].reenter()
    assert [lease.state for lease in leases] == [State.RELEASED] * 4
    assert await s2.locks() == []
    with pytest.raises(NotHeld):
        await leases[1].release()
    await s.close()


@on_redis_and_fake
async def test_a_closed_session_is_of_no_more_use(s: AsyncSession) -> None:
    lock, fence = s.lock("it"), s.fence("it")
    await s.close()
    for ask in (lock.acquire, lock.try_acquire, lock.info, s.locks, s.ping, fence.seen):
        with pytest.raises(RuntimeError, match="the session is closed"):
            await ask()
    assert s.lock("it").name == "it"


@on_redis_and_fake
async def test_a_session_that_nobody_used_is_closed(s2: AsyncSession) -> None:
    await s2.close()
    await s2.close()


@on_redis
async def test_closing_leaves_no_connection(
    api: Api, place: Place, namespace: str
) -> None:
    before = footprint(api, place)
    session = api.session(place.where(api), namespace=namespace)
    async with session.lock("it", ttl=0.3).acquire() as lease:
        with pytest.raises(LockTimeout):
            await session.lock("it").acquire(timeout=0.01)
        first = lease.deadline
        await api.until(lambda: lease.deadline > first)
        assert footprint(api, place) != before
    await session.close()
    await api.until(lambda: footprint(api, place) == before)


@on_redis_and_fake
async def test_closing_while_others_wait(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """They cannot go on waiting: nobody would renew what they get."""
    async with s2.lock("it").acquire():
        lock = s.lock("it", waiter_ttl=40)
        waiter = api.start(take(lock))
        await api.until(lambda: place.waiting(lock) == 1)
        await s.close()
        await api.until(waiter.done, timeout=1)
        with pytest.raises((RuntimeError, ConnectionError, asyncio.CancelledError)):
            await waiter
    async with s2.lock("it").acquire(timeout=0):
        pass


# -- event loops ---------------------------------------------------------------------


def in_another_loop(work: Coroutine[Any, Any, object]) -> None:
    """Run it in a loop of another thread, and raise what it raises."""
    error: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as exc:  # noqa: BLE001 -- raised below
            error.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    if error:
        raise error[0]


@only_async
@on_redis_and_fake
async def test_a_session_belongs_to_one_loop(s: AsyncSession) -> None:
    async with s.lock("it").acquire() as lease:
        for work in (
            s.lock("it").try_acquire(),
            s.lock("other").acquire(timeout=1).__aenter__(),
            lease.renew(),
            s.locks(),
            s.fence("it").check(7),
        ):
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                in_another_loop(work)
        await lease.renew()


@only_async
@on_redis_and_fake
async def test_a_lease_is_released_in_its_own_loop(s: AsyncSession) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        in_another_loop(lease.release())
    assert lease.held, "it was not given back, and is still renewed"
    assert real(lease) in s._engine.keeper.leases()
    await lease.release()
    assert await lock.info() is None


@on_redis_and_fake
def test_a_loop_that_is_closed_while_it_held(place: Place, namespace: str) -> None:
    """What it kept is lost at once, for nobody renews it any more."""
    api = Asyncio()
    leases: list[Any] = []
    locks: list[AsyncLock] = []

    async def hold() -> None:
        session = AsyncSession(place.where(api), namespace=namespace)
        locks.append(session.lock("it", ttl=0.3))
        leases.append(await locks[0].acquire())
        first = leases[0].deadline
        await api.until(lambda: leases[0].deadline > first)

    asyncio.run(hold())
    assert leases[0].reason is Reason.UNKEPT
    with pytest.raises(LeaseLost, match="the keeper that renewed it has stopped"):
        leases[0].check()
    assert place.raw.pttl(keys_of(locks[0]).lock) <= 300
    gc.collect()
