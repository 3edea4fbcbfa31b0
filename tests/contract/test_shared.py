"""Shared holders, slots, and both beside one who wants the lock alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api, Started
from contract.marks import everywhere, on_redis_and_fake
from contract.places import Place, promptly, take, unkeep
from coordkit import (
    AsyncLease,
    AsyncLock,
    AsyncSession,
    KeyConflict,
    LeaseLost,
    NotHeld,
    Reason,
)


async def give_back(*leases: AsyncLease) -> None:
    for lease in leases:
        await lease.release()


@everywhere
async def test_readers_hold_it_together(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    readers = [
        await session.lock("it", shared=True).acquire(timeout=0)
        for session in (s, s2, s2, s)
    ]
    tokens = [reader.token for reader in readers]
    assert tokens == sorted(set(tokens))
    seen = await s.lock("it").info()
    assert seen is not None
    assert (seen.mode, seen.limit, seen.waiters) == ("shared", None, 0)
    assert [held.holder for held in seen.holders] == [r.holder for r in readers]
    assert [held.token for held in seen.holders] == tokens
    assert {held.identity for held in seen.holders} == {s.identity, s2.identity}
    await give_back(*readers)
    assert place.untouched(s.lock("it"))
    with pytest.raises(NotHeld):
        await readers[0].release()


@on_redis_and_fake
@pytest.mark.parametrize("options", [{"shared": True}, {"slots": 2}], ids=str)
async def test_the_last_one_leaves_no_key(
    place: Place, s: AsyncSession, options: dict[str, Any]
) -> None:
    lock = s.lock("it", ttl=3600, **options)
    async with lock.acquire(), lock.acquire():
        pass
    keys = lock._options.keys
    left = place.raw.keys(f"*:{s.namespace}:*")
    assert {key for key in left if ":tomb:" not in key} <= {keys.fence, keys.index}


async def test_one_alone_and_many_together_exclude_each_other(
    s: AsyncSession, s2: AsyncSession
) -> None:
    alone, shared = s.lock("it"), s2.lock("it", shared=True)
    async with alone.acquire() as writer:
        assert await shared.try_acquire() is None
    async with shared.acquire() as one, shared.acquire() as two:
        assert await alone.try_acquire() is None
        assert writer.token < one.token < two.token
    async with alone.acquire(timeout=0) as writer:
        assert writer.token > two.token


@everywhere
async def test_slots_are_so_many(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock, other = s.lock("it", slots=2, ttl=60), s2.lock("it", slots=2, waiter_ttl=40)
    first, second = await lock.acquire(timeout=0), await other.acquire(timeout=0)
    assert await other.try_acquire() is None
    seen = await lock.info()
    assert seen is not None
    assert (seen.mode, seen.limit, len(seen.holders)) == ("slots", 2, 2)
    waiter = api.start(take(other))
    await api.until(lambda: place.waiting(other) == 1)
    await first.release()
    third = await promptly(waiter)
    assert await other.try_acquire() is None
    await give_back(second, third)
    assert place.untouched(lock)


async def test_as_many_work_at_once_as_there_are_slots(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    inside, most = 0, 0

    async def work(session: AsyncSession) -> None:
        nonlocal inside, most
        for _ in range(3):
            async with session.lock("it", slots=3).acquire(timeout=10):
                inside += 1
                most = max(most, inside)
                await api.sleep(0.003)
                inside -= 1

    await api.all(*(work(session) for session in [s, s2] * 4))
    assert most == 3


# -- the queue -----------------------------------------------------------------------


async def test_a_queued_writer_stops_later_readers(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    alone = s2.lock("it", ttl=60, waiter_ttl=40)
    shared = s.lock("it", ttl=60, waiter_ttl=40, shared=True)
    early = [await shared.acquire() for _ in range(2)]
    writing = api.start(take(alone))
    await api.until(lambda: place.waiting(alone) == 1)
    assert await shared.try_acquire() is None, "a writer waits"
    reading = api.start(take(shared))
    await api.until(lambda: place.waiting(alone) == 2)
    await early[0].release()
    await api.sleep(0.02)
    assert not writing.done()
    await early[1].release()
    writer = await promptly(writing)
    assert not reading.done()
    await writer.release()
    reader = await promptly(reading)
    assert early[1].token < writer.token < reader.token
    await reader.release()


async def test_readers_that_waited_come_in_together(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    shared = s2.lock("it", ttl=60, waiter_ttl=40, shared=True)
    writer = await s.lock("it", ttl=60).acquire()
    reading = [api.start(take(shared)) for _ in range(5)]
    await api.until(lambda: place.waiting(shared) == 5)
    await writer.release()
    readers = [await promptly(each) for each in reading]
    assert all(reader.held for reader in readers)
    await give_back(*readers)


async def test_waiters_for_slots_come_in_one_by_one(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", slots=2, ttl=60, waiter_ttl=40)
    holding = [await lock.acquire() for _ in range(2)]
    served: list[int] = []

    async def wait(number: int) -> AsyncLease:
        lease = await lock.acquire(timeout=10)
        served.append(number)
        return lease

    waiting: list[Started[AsyncLease]] = []
    for number in range(4):
        waiting.append(api.start(wait(number)))
        await api.until(lambda: place.waiting(lock) == len(waiting))
    for waiter in waiting:
        await holding.pop(0).release()
        holding.append(await promptly(waiter))
    assert served == [0, 1, 2, 3]
    await give_back(*holding)


async def test_readers_behind_a_writer_that_gave_up_come_in(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Nothing stands in their way any more: they are not to wait for a time-out."""
    shared = s.lock("it", ttl=60, waiter_ttl=40, shared=True)
    alone = s2.lock("it", ttl=60, waiter_ttl=40)
    early = await shared.acquire()

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            await alone.acquire(timeout=0.15)

    writing = api.start(gives_up())
    await api.until(lambda: place.waiting(alone) == 1)
    reading = api.start(take(shared))
    await api.until(lambda: place.waiting(alone) == 2)
    await writing
    late = await promptly(reading)
    await give_back(early, late)


async def test_an_unfair_reader_overtakes_a_waiting_writer(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    alone = s2.lock("it", ttl=60, waiter_ttl=40)
    unfair = s.lock("it", shared=True, fair=False)
    first = await unfair.acquire()
    writing = api.start(take(alone))
    await api.until(lambda: place.waiting(alone) == 1)
    second = await unfair.try_acquire()
    assert second is not None
    await give_back(first, second)
    await (await promptly(writing)).release()


# -- limits --------------------------------------------------------------------------


async def test_limits_that_differ(s: AsyncSession, s2: AsyncSession) -> None:
    async def refused(lock: AsyncLock) -> str:
        with pytest.raises(KeyConflict) as conflict:
            await lock.acquire(timeout=1)
        with pytest.raises(KeyConflict):
            await lock.try_acquire()
        return str(conflict.value)

    two, three = s.lock("it", slots=2), s2.lock("it", slots=3)
    shared = s2.lock("it", shared=True)
    async with two.acquire():
        told = await refused(three)
        assert "'it'" in told
        assert "slots=2 at present, not with slots=3" in told
        assert "slots=2 at present, not with shared=True" in await refused(shared)
        assert await s2.lock("it").try_acquire() is None
    async with shared.acquire():
        assert "shared=True at present, not with slots=2" in await refused(two)
    async with three.acquire(timeout=0):  # nobody is left who agreed on another one
        pass


# -- crashes -------------------------------------------------------------------------


async def test_a_reader_that_crashed_beside_a_live_one(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", slots=2, ttl=0.3)
    dead, live = await lock.acquire(), await s2.lock("it", slots=2, ttl=0.3).acquire()
    unkeep(dead)
    began = time.monotonic()
    async with s2.lock("it", slots=2, waiter_ttl=40).acquire(timeout=10):
        assert time.monotonic() - began < 0.3 + 0.3
        assert live.held
        assert (dead.held, dead.reason) == (False, Reason.EXPIRED)
        assert await lock.try_acquire() is None, "the live one has a slot of two"
        seen = await lock.info()
        assert seen is not None
        assert dead.holder not in {held.holder for held in seen.holders}
    with pytest.raises(LeaseLost, match="its deadline passed"):
        await dead.release()
    await live.release()
    assert place.untouched(lock)


async def test_a_writer_waits_for_the_longest_lease_of_a_dead_reader(
    s: AsyncSession, s2: AsyncSession
) -> None:
    began = time.monotonic()
    dead = [await s.lock("it", shared=True, ttl=t).acquire() for t in (0.35, 0.2)]
    for lease in dead:
        unkeep(lease)
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=10):
        assert 0.34 < time.monotonic() - began < 0.35 + 0.3


@on_redis_and_fake
async def test_a_short_reader_ends_though_a_long_one_was_there(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """Each has a deadline of its own, not one for the whole set."""
    long = await s.lock("it", shared=True, ttl=60).acquire()
    short = await s.lock("it", shared=True, ttl=0.2).acquire()
    unkeep(short)
    await long.release()
    began = time.monotonic()
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=10):
        assert time.monotonic() - began < 0.2 + 0.3
    assert not short.held


async def test_shared_leases_are_renewed_and_lost_one_by_one(
    api: Api, place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it", shared=True, ttl=0.3)
    one, two = await lock.acquire(), await lock.acquire()
    place.raw.zrem(lock._options.keys.holders, one.holder)
    assert await one.lost.wait(5)
    assert one.reason is Reason.EVICTED
    deadline = two.deadline
    await api.until(lambda: two.deadline > deadline)
    await two.renew()
    assert two.held
    with pytest.raises(LeaseLost):
        await one.release()
    await two.release()
    assert place.untouched(lock)
