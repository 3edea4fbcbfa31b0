"""Waiting: first come, first served, and nobody waits for the dead."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api, run
from contract.marks import everywhere, on_redis, on_redis_and_fake, uvloop_too
from contract.places import Place, keys_of, promptly, stranger, take, unkeep
from coordkit import AsyncLock, AsyncSession, LeaseLost, LockTimeout
from coordkit._core.lock import release_call
from coordkit._core.ops import Op


@everywhere
async def test_fifty_waiters_are_served_in_order(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    holder = await s.lock("it").acquire()
    lock = s2.lock("it")
    served: list[int] = []

    async def wait(number: int) -> None:
        async with lock.acquire(timeout=20):
            served.append(number)

    waiters: list[Any] = []
    for number in range(50):
        waiters.append(api.start(wait(number)))
        await api.until(lambda: place.waiting(lock) == len(waiters))
    info = await lock.info()
    assert info is not None
    assert info.waiters == 50
    await holder.release()
    for waiter in waiters:
        await waiter
    assert served == list(range(50))
    assert place.untouched(lock)


async def test_sessions_are_served_in_order(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    holder = await s.lock("it").acquire()
    served: list[int] = []

    async def wait(number: int, session: AsyncSession) -> None:
        async with session.lock("it").acquire(timeout=20):
            served.append(number)

    waiters: list[Any] = []
    for number in range(8):
        waiters.append(api.start(wait(number, (s, s2)[number % 2])))
        await api.until(lambda: place.waiting(s.lock("it")) == len(waiters))
    await holder.release()
    for waiter in waiters:
        await waiter
    assert served == list(range(8))


@everywhere
@uvloop_too
async def test_a_release_wakes_the_next_waiter(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """By itself it would ask again after 20 s only."""
    mine, theirs = s.lock("it", ttl=60, waiter_ttl=40), s2.lock("it", waiter_ttl=40)
    for _ in range(3):
        holder = await mine.acquire()
        waiter = api.start(take(theirs))
        await api.until(lambda: place.waiting(theirs) == 1)
        await api.sleep(0.01)
        await holder.release()
        await (await promptly(waiter)).release()


async def test_a_break_wakes_the_next_waiter(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", waiter_ttl=40)
    holder = await s.lock("it", ttl=60).acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    await lock.break_()
    await (await promptly(waiter)).release()
    with pytest.raises(LeaseLost):
        await holder.release()


async def test_a_waiter_that_leaves_wakes_the_next_one(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """The lock was free for the one that left at that very moment."""
    lock = s2.lock("it", ttl=60, waiter_ttl=40)
    head = stranger()
    place.enqueue(lock, head, alive=40)
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 2)
    await run(s, _leave(s.lock("it"), head))
    await (await promptly(waiter)).release()


def _leave(lock: AsyncLock, rid: str) -> Op[None]:
    yield release_call(lock._claim, rid, 1000)


async def test_a_lone_waiter_asks_when_the_lease_must_have_ended(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """The holder's process is gone: nobody wakes anybody."""
    mine = s.lock("it", ttl=0.3)
    holder = await mine.acquire()
    unkeep(holder)
    began = time.monotonic()
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=10):
        assert time.monotonic() - began < 0.3 + 0.5
    with pytest.raises(LeaseLost):
        await holder.release()


# -- fairness ----------------------------------------------------------------------


async def test_a_hot_holder_starves_nobody(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    hot, lock = s.lock("it"), s2.lock("it")
    holder = await hot.acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)

    async def cycles() -> int:
        nonlocal holder
        for count in range(1000):
            await holder.release()
            holder = await hot.acquire(timeout=10)
            if waiter.done():
                return count
        return 1000

    counting = api.start(cycles())
    lease = await waiter
    await lease.release()
    assert await counting == 0, "it came before, without waiting"
    await holder.release()


async def test_an_unfair_newcomer_barges(place: Place, s: AsyncSession) -> None:
    unfair = s.lock("it", fair=False)
    place.enqueue(unfair, stranger(), alive=20)
    lease = await unfair.try_acquire()
    assert lease is not None
    await lease.release()
    async with unfair.acquire(timeout=0):
        pass
    async with unfair:
        pass
    assert place.waiting(unfair) == 1, "who waited goes on waiting"
    assert await s.lock("it").try_acquire() is None


# -- the dead ----------------------------------------------------------------------


async def test_a_dead_waiter_is_skipped_when_its_place_has_run_out(
    api: Api, place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it", waiter_ttl=20)
    ends = time.time() + 0.25
    place.enqueue(lock, stranger(), alive=0.25)
    async with lock.acquire(timeout=10):
        assert ends - 0.01 < time.time() < ends + 0.3
        assert place.waiting(lock) == 0


async def test_a_release_skips_the_dead(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", ttl=60, waiter_ttl=40)
    holder = await s.lock("it", ttl=60).acquire()
    place.enqueue(lock, stranger(), stranger(), alive=-1)
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) >= 1)
    await api.sleep(0.01)
    await holder.release()
    await (await promptly(waiter)).release()
    assert place.untouched(lock)


@on_redis
@pytest.mark.parametrize("kind", ["x", "s"])
async def test_a_thousand_dead_waiters_stall_nobody(
    api: Api, place: Place, s: AsyncSession, kind: str
) -> None:
    lock = s.lock("it", shared=kind == "s")

    def bury(count: int) -> None:
        dead = [stranger()[:-1] + kind for _ in range(count)]
        place.enqueue(lock, *dead, alive=-1)

    bury(1000)
    began = time.monotonic()
    async with lock.acquire(timeout=5):
        assert time.monotonic() - began < 1.0
        assert place.waiting(lock) == 0
    bury(2500)
    began = time.monotonic()
    async with lock.acquire(timeout=5):
        assert time.monotonic() - began < 1.0
        bury(2500)  # and a release wakes whoever is alive behind them
        waiter = api.start(take(s.lock("it", waiter_ttl=40)))
        await api.until(lambda: place.waiting(lock) in (1, 2501))
    await (await promptly(waiter)).release()
    bury(999)
    lease = await lock.try_acquire()
    assert lease is not None, "nobody waits for it"
    await lease.release()


@on_redis_and_fake
async def test_try_acquire_sees_that_a_thousand_dead_do_not_wait(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")
    place.enqueue(lock, *(stranger() for _ in range(1000)), alive=-1)
    lease = await lock.try_acquire()
    assert lease is not None, "it is free and nobody waits for it"
    await lease.release()


@on_redis_and_fake
async def test_a_waiter_of_which_only_half_is_known_is_dead(
    place: Place, s: AsyncSession
) -> None:
    """Evicted: its liveness is gone, or its place is."""
    lock = s.lock("it")
    keys = keys_of(lock)
    place.raw.zadd(keys.queue, {stranger(): 1})
    async with lock.acquire(timeout=1):
        pass
    place.raw.zadd(keys.alive, {stranger(): time.time() * 1000 + 20_000})
    async with lock.acquire(timeout=1):
        pass


# -- the line on which wakes come ----------------------------------------------------


@on_redis
async def test_wakes_that_were_lost_with_the_line(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """After it was cut every waiter asks again; the rest is waiter_ttl/2."""
    lock = s2.lock("it", ttl=60, waiter_ttl=40)

    async def pass_through() -> None:
        async with lock.acquire(timeout=10):
            pass

    for _ in range(3):
        holder = await s.lock("it", ttl=60).acquire()
        waiters = [api.start(pass_through()) for _ in range(3)]
        await api.until(lambda: place.waiting(lock) == 3)
        await api.sleep(0.01)
        killed = place.raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert killed == 1, "one line for all waiters"
        began = time.monotonic()
        await holder.release()
        for waiter in waiters:
            await waiter
        assert time.monotonic() - began < 1.0


@on_redis
async def test_a_line_that_is_cut_again_and_again(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    locks = [session.lock("it", ttl=60, waiter_ttl=1) for session in (s, s2)]

    async def work(lock: AsyncLock) -> None:
        for _ in range(10):
            async with lock.acquire(timeout=10):
                await api.sleep(0.001)

    workers = [api.start(work(lock)) for lock in locks * 4]
    while not all(worker.done() for worker in workers):
        place.raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await api.sleep(0.02)
    for worker in workers:
        await worker


# -- time-outs -----------------------------------------------------------------------


@on_redis_and_fake
async def test_a_timeout_at_the_moment_of_the_grant_leaks_nothing(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    mine, theirs = s.lock("it", ttl=60), s2.lock("it", ttl=60, waiter_ttl=40)
    outcomes: list[bool] = []

    async def wait(timeout: float) -> None:
        try:
            lease = await theirs.acquire(timeout)
        except LockTimeout:
            outcomes.append(False)
        else:
            outcomes.append(True)
            await lease.release()

    for n in range(30):
        holder = await mine.acquire(timeout=0.5)
        waiter = api.start(wait(0.02))
        await api.sleep(0.016 + n % 10 * 0.0007)
        await holder.release()
        await waiter
        assert place.untouched(theirs), outcomes
    assert True in outcomes
    assert False in outcomes


async def test_a_waiter_behind_one_that_gave_up_is_not_forgotten(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    mine, theirs = s.lock("it", ttl=60), s2.lock("it", ttl=60, waiter_ttl=40)
    holder = await mine.acquire()

    async def gives_up() -> None:
        with pytest.raises(LockTimeout):
            await theirs.acquire(timeout=0.05)

    first = api.start(gives_up())
    await api.until(lambda: place.waiting(theirs) == 1)
    second = api.start(take(theirs))
    await api.until(lambda: place.waiting(theirs) == 2)
    await first
    assert place.waiting(theirs) == 1
    await holder.release()
    await (await promptly(second)).release()


@on_redis
async def test_a_waiter_costs_two_questions_and_a_hand_over_two_more(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:

    mine, theirs = s.lock("it", ttl=60), s2.lock("it", ttl=60, waiter_ttl=40)
    for count in range(3):  # the first one loads scripts and opens the line
        holder = await mine.acquire()
        before = place.asked()
        waiter = api.start(take(theirs))
        await api.until(lambda: place.waiting(theirs) == 1)
        await holder.release()
        await (await promptly(waiter)).release()
        if count:
            assert place.asked() - before <= 4
