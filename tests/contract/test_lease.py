"""What a holder has: its deadline, its end, and how it learns of a loss."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import weakref
from contextlib import AbstractAsyncContextManager

import pytest

from contract.flavours import Api, real
from contract.marks import (
    everywhere,
    on_redis,
    on_redis_and_fake,
    only_async,
    uvloop_too,
)
from contract.places import Place, keys_of, unkeep
from coordkit import (
    AsyncLease,
    AsyncSession,
    LeaseLost,
    NotHeld,
    Reason,
    State,
)
from coordkit._io import clock

# -- release -----------------------------------------------------------------------


@everywhere
async def test_released_twice(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    await lease.release()
    with pytest.raises(NotHeld, match="'it' is not held: it was released before") as no:
        await lease.release()
    assert no.value.name == "it"
    assert isinstance(no.value, RuntimeError)
    assert place.untouched(lock)


async def test_a_late_release_takes_nothing_from_the_next_holder(
    s: AsyncSession, s2: AsyncSession
) -> None:
    first = await s.lock("it").acquire()
    await first.release()
    async with s2.lock("it").acquire():
        with pytest.raises(NotHeld):
            await first.release()
        assert await s2.lock("it").info()


async def test_released_inside_its_body(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    async with lock.acquire() as lease:
        await lease.release()
        assert place.untouched(lock)
    async with lock as lease:
        await lease.release()


async def test_another_worker_releases(api: Api, place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    await api.start(lease.release())
    assert lease.state is State.RELEASED
    assert place.untouched(lock)
    with pytest.raises(NotHeld):
        await api.start(lease.release())


async def test_an_exception_in_the_body_goes_on(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    with pytest.raises(ZeroDivisionError) as error:
        async with lock.acquire():
            raise ZeroDivisionError
    assert not hasattr(error.value, "__notes__")
    assert place.untouched(lock)


async def test_an_exception_in_the_body_wins_over_a_failing_release(
    s: AsyncSession,
) -> None:
    lock = s.lock("it")

    async def entered(how: AbstractAsyncContextManager[AsyncLease]) -> None:
        async with how:
            await lock.break_()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        await entered(lock.acquire())
    (note,) = error.value.__notes__
    assert "on leaving the lease: the lease on 'it'" in note
    assert "an operator broke it" in note
    with pytest.raises(ZeroDivisionError) as error:
        await entered(lock)
    assert len(error.value.__notes__) == 1


async def test_reentry_is_counted_here_and_not_in_redis(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")
    async with lock.acquire() as lease:
        async with lease.reenter() as inner:
            assert inner == lease
            assert inner.token == lease.token
            again = lease.reenter()
            await again.release()
            assert lease.held
        assert lease.held
        assert await lock.info()
    assert lease.state is State.RELEASED
    assert place.untouched(lock)
    with pytest.raises(NotHeld):
        lease.reenter()


# -- time --------------------------------------------------------------------------


async def test_it_is_relied_on_for_a_little_less_than_the_server_keeps_it(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it", ttl=10)
    before = clock.now()
    async with lock.acquire() as lease:
        # 1 % and 2 ms, counted from before the question
        assert before + 9.898 <= lease.deadline <= clock.now() + 9.898
        assert 0 < lease.remaining() <= lease.deadline - before
        assert lease.remaining() * 1000 < place.raw.pttl(keys_of(lock).lock)
        lease.check()
    assert lease.remaining() == 0.0


@uvloop_too
async def test_it_is_renewed_for_as_long_as_it_is_held(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.3)
    async with lock.acquire() as lease:
        token, first = lease.token, lease.deadline
        await api.until(lambda: clock.now() > first + 0.02)
        assert lease.state is State.HELD
        assert lease.token == token
        assert await s2.lock("it").try_acquire() is None


@everywhere
async def test_renew_pushes_the_deadline_away(
    api: Api, place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it", ttl=20)
    async with lock.acquire() as lease:
        place.raw.pexpire(keys_of(lock).lock, 5000)
        deadline, token = lease.deadline, lease.token
        await api.sleep(0.005)
        await lease.renew()
        assert lease.deadline > deadline
        assert lease.token == token
        assert place.raw.pttl(keys_of(lock).lock) > 19_000
    with pytest.raises(NotHeld):
        await lease.renew()


async def test_renew_of_a_lost_lease_says_why(s: AsyncSession) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    await lock.break_()
    with pytest.raises(LeaseLost) as lost:
        await lease.renew()
    assert lost.value.reason is Reason.BROKEN
    assert lease.state is State.LOST
    with pytest.raises(LeaseLost):
        await lease.release()


@on_redis_and_fake
async def test_states_of_a_lease_that_nobody_renews(
    api: Api, place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.2)
    lease = await lock.acquire()
    unkeep(lease)
    seen: list[State] = []
    at_risk_since = 0.0
    while lease.state is not State.LOST:
        if lease.state not in seen:
            seen.append(lease.state)
            at_risk_since = clock.now()
        lease.check()
        await api.sleep(0.001)
    assert seen == [State.HELD, State.AT_RISK]
    assert at_risk_since >= lease.deadline - 0.2 / 3
    assert (lease.held, lease.remaining(), lease.reason) == (False, 0, Reason.EXPIRED)
    with pytest.raises(LeaseLost, match=r"'it'.*is lost: its deadline passed") as lost:
        lease.check()
    assert (lost.value.name, lost.value.token) == ("it", lease.token)
    assert lost.value.reason is Reason.EXPIRED
    with pytest.raises(LeaseLost, match="its deadline passed"):
        await lease.release()
    await api.until(lambda: place.untouched(lock))


@on_redis_and_fake
@uvloop_too
async def test_lost_is_set_at_the_deadline(api: Api, s: AsyncSession) -> None:
    async def late(number: int) -> float:
        lease = await s.lock(f"it {number}", ttl=0.15 + number / 100).acquire()
        unkeep(lease)
        assert not lease.lost.is_set()
        assert not await lease.lost.wait(0.01)
        assert await lease.lost.wait(5)
        rang = clock.now()
        assert lease.lost.is_set()
        assert lease.lost.reason is Reason.EXPIRED
        with pytest.raises(LeaseLost):
            await lease.release()
        return rang - lease.deadline

    lags = await api.all(*(late(number) for number in range(5)))
    assert min(lags) >= 0
    # 50 ms; of five, one may be asked in vain from a busy machine
    assert sorted(lags)[-2] < 0.05


async def test_lost_is_set_early_when_the_server_says_so(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.6)
    lease = await lock.acquire()
    await s2.lock("it").break_()
    assert await lease.lost.wait(5)
    assert clock.now() < lease.deadline - 0.1
    assert lease.lost.reason is lease.reason is Reason.BROKEN
    assert repr(lease.lost).endswith("Lost broken>")
    with pytest.raises(LeaseLost, match="an operator broke it"):
        await lease.release()


async def test_waiting_for_the_loss_ends_with_the_release(
    api: Api, s: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    watching = api.start(lease.lost.wait())
    await api.sleep(0.01)
    assert not watching.done()
    assert repr(lease.lost).endswith("Lost not yet>")
    await lease.release()
    assert not await watching
    assert not lease.lost.is_set()
    assert not await lease.lost.wait()


# -- leaving a lost lease ----------------------------------------------------------


@everywhere
@uvloop_too
async def test_the_loss_comes_out_of_the_body(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.2)
    early: list[float] = []

    async def work() -> None:
        async with lock.acquire() as lease:
            await s2.lock("it").break_()
            try:
                await api.until(lambda: not lease.held)
            finally:
                early.append(lease.deadline - clock.now())

    with pytest.raises(LeaseLost) as lost:
        await work()
    assert lost.value.reason is Reason.BROKEN
    assert early[0] > 0


@only_async
@on_redis_and_fake
async def test_the_body_is_cancelled_at_the_deadline(api: Api, s: AsyncSession) -> None:
    late: list[float] = []

    async def work(how: AbstractAsyncContextManager[AsyncLease]) -> None:
        async with how as lease:
            unkeep(lease)
            try:
                await asyncio.sleep(5)
            finally:
                late.append(clock.now() - lease.deadline)

    for how in (s.lock("it", ttl=0.2).acquire(), s.lock("it", ttl=0.2)):
        with pytest.raises(LeaseLost) as lost:
            await work(how)
        assert lost.value.reason is Reason.EXPIRED
        assert isinstance(lost.value.__cause__, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
    assert min(late) >= 0
    assert min(late) < 0.05


@only_async
@on_redis
async def test_a_cancellation_from_outside_stays_one(
    api: Api, place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")

    async def work() -> None:
        async with lock.acquire():
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await api.until(lambda: place.raw.exists(keys_of(lock).lock))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert place.untouched(lock)


@only_async
@on_redis
async def test_a_timeout_around_a_lost_lease_stays_a_timeout(s: AsyncSession) -> None:
    """The two cancel at once: the outer one must not be swallowed."""
    lock = s.lock("it", ttl=0.2)

    async def work() -> None:
        async with asyncio.timeout(5) as limit, lock.acquire() as lease:
            unkeep(lease)
            limit.reschedule(asyncio.get_running_loop().time() + lease.remaining())
            await asyncio.sleep(5)

    with pytest.raises((TimeoutError, LeaseLost)):
        await work()
    async with lock.acquire(timeout=2):  # the task is as good as before
        await asyncio.sleep(0)


# -- what becomes of it otherwise ---------------------------------------------------


@on_redis
async def test_repr_of_a_lease(api: Api, s: AsyncSession) -> None:
    lock = s.lock("it", ttl=0.1)
    lease = await lock.acquire()
    unkeep(lease)
    told = f"Lease 'it' token={lease.token}"
    assert f"{told} held, 0.0" in repr(lease)
    assert repr(lease).endswith(" s left>")
    await api.until(lambda: lease.state is State.AT_RISK)
    assert f"{told} at risk, 0.0" in repr(lease)
    await api.until(lambda: not lease.held)
    assert repr(lease).endswith(f"{told} lost (expired)>")
    lease = await lock.acquire()
    await lease.release()
    assert repr(lease).endswith(f"Lease 'it' token={lease.token} released>")


@on_redis
async def test_a_lease_is_neither_pickled_nor_copied(s: AsyncSession) -> None:
    async with s.lock("it").acquire() as lease:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                attempt(real(lease))


@pytest.mark.parametrize("renewed", [False, True], ids=["new", "renewed"])
async def test_a_dropped_lease_ends_by_its_ttl(
    api: Api, place: Place, s: AsyncSession, renewed: bool
) -> None:
    lock = s.lock("it", ttl=1)
    leases = [await lock.acquire()]
    first, gone = leases[0].deadline, weakref.ref(real(leases[0]))
    if renewed:
        await api.until(lambda: leases[0].deadline > first)
    with pytest.warns(ResourceWarning, match=r"'it'.*dropped without release"):
        _collect(leases)
    assert place.raw.exists(keys_of(lock).lock), "nothing is released by the collector"
    gc.collect()  # the warning, which was recorded, referred to it
    assert gone() is None, "whoever records the warning must not keep it alive"
    async with lock.acquire(timeout=5):
        pass  # nobody renewed it


def _collect(leases: list[AsyncLease]) -> None:
    leases.clear()
    gc.collect()
