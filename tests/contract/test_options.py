"""What the options of a lock do, and names of every kind."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place, keys_of, promptly, take, unkeep
from coordkit import AsyncSession, LeaseLost, NotHeld, Reason, State
from coordkit._io import clock

# -- hold_at_least -------------------------------------------------------------------


async def test_hold_at_least_keeps_it_taken_after_the_release(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=20, hold_at_least=0.3, meta={"run": 1})
    began = time.monotonic()
    lease = await lock.acquire()
    await lease.release()
    assert lease.state is State.RELEASED
    with pytest.raises(NotHeld):
        await lease.release()
    assert await s2.lock("it").try_acquire() is None
    seen = await s2.lock("it").info()
    assert seen is not None
    assert (seen.mode, seen.token, seen.meta) == ("cooling", lease.token, {"run": 1})
    assert 0 < seen.expires_in <= 0.3
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=5) as next_lease:
        assert 0.25 < time.monotonic() - began < 0.3 + 0.3
        assert next_lease.token > lease.token


async def test_hold_at_least_costs_a_long_holder_nothing(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it", hold_at_least=0.05).acquire()
    waiter = api.start(take(s2.lock("it", waiter_ttl=40)))
    await api.sleep(0.06)
    await lease.release()
    await (await promptly(waiter)).release()
    assert place.untouched(s.lock("it"))


async def test_hold_at_least_counts_from_when_it_was_taken(
    s: AsyncSession, s2: AsyncSession
) -> None:
    """Even if that is longer than the ttl; a renewal begins nothing anew."""
    began = time.monotonic()
    async with s.lock("it", ttl=0.2, hold_at_least=0.4).acquire() as lease:
        await lease.renew()
    async with s2.lock("it").acquire(timeout=5):
        assert 0.35 < time.monotonic() - began < 0.4 + 0.3


@on_redis_and_fake
async def test_a_lock_that_cools_is_broken_like_another(
    s: AsyncSession, s2: AsyncSession
) -> None:
    async with s.lock("it", hold_at_least=60).acquire():
        pass
    seen = await s2.lock("it").break_(reason="no need to wait")
    assert seen is not None
    assert seen.mode == "cooling"
    async with s2.lock("it").acquire(timeout=0):
        pass


# -- max_hold ------------------------------------------------------------------------


async def test_max_hold_ends_a_lease_that_is_renewed(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    began = clock.now()
    lease = await s.lock("it", ttl=0.2, max_hold=0.5).acquire()
    assert await lease.lost.wait(5)
    assert began + 0.45 < clock.now() < began + 0.5 + 0.2
    assert lease.reason is Reason.EXPIRED
    async with s2.lock("it").acquire(timeout=2):
        assert clock.now() < began + 0.5 + 0.5
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_max_hold_shorter_than_the_ttl(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=60, max_hold=0.2)
    lease = await lock.acquire()
    assert lease.remaining() <= 0.2
    assert place.raw.pttl(keys_of(lock).lock) <= 200
    assert lease.state is State.HELD
    assert await lease.lost.wait(5)
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=1):
        pass


@on_redis_and_fake
async def test_max_hold_is_no_risk_before_its_time(api: Api, s: AsyncSession) -> None:
    """It was foreseen: nothing is overdue."""
    lease = await s.lock("it", ttl=0.3, max_hold=0.3).acquire()
    seen: set[State] = set()
    while lease.held:
        seen.add(lease.state)
        await api.sleep(0.002)
    assert seen <= {State.HELD, State.LOST}


async def test_max_hold_goes_for_renew_and_for_readers_too(
    s: AsyncSession,
) -> None:
    for shared in (False, True):
        began = clock.now()
        lease = await s.lock("it", ttl=60, max_hold=5, shared=shared).acquire()
        await lease.renew()
        assert lease.deadline <= clock.now() + 5
        assert lease.deadline <= began + 5.1
        await lease.release()


# -- lock_delay ----------------------------------------------------------------------


async def test_lock_delay_after_a_lease_that_ran_out(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    began = time.monotonic()
    lease = await s.lock("it", ttl=0.2, lock_delay=0.3).acquire()
    unkeep(lease)
    assert lease.remaining() < 0.2
    assert await lease.lost.wait(5)
    assert await s2.lock("it").try_acquire() is None
    async with s2.lock("it", waiter_ttl=40).acquire(timeout=5):
        assert 0.45 < time.monotonic() - began < 0.5 + 0.3
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_lock_delay_is_not_for_a_clean_release(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.3, lock_delay=30)
    lease = await lock.acquire()
    first = lease.deadline
    await api.until(lambda: lease.deadline > first)
    await lease.renew()
    assert lease.remaining() <= 0.3, "the delay is not the holder's"
    await lease.release()
    assert place.untouched(lock)


@on_redis_and_fake
async def test_a_late_holder_does_not_come_back_within_the_delay(
    api: Api, s: AsyncSession
) -> None:
    """Its key is still there, and it is lost all the same."""
    lock = s.lock("it", ttl=0.1, lock_delay=20)
    lease = await lock.acquire()
    unkeep(lease)
    await api.sleep(0.11)
    with pytest.raises(LeaseLost, match="its deadline passed"):
        await lease.renew()
    with pytest.raises(LeaseLost):
        await lease.release()


@on_redis_and_fake
async def test_lock_delay_for_waiters_too(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """A lock that is handed over keeps the delay of its new holder."""
    lock = s2.lock("it", ttl=0.2, lock_delay=0.5)
    first = await s.lock("it", ttl=60).acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    await first.release()
    lease = await promptly(waiter)
    assert place.raw.pttl(keys_of(lock).lock) > 500
    await lease.release()
    assert place.untouched(lock)


# -- the rest ------------------------------------------------------------------------


async def test_waiter_ttl_is_how_long_a_dead_waiter_counts(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", waiter_ttl=7)
    lease = await s.lock("it").acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    ((_, ends),) = place.raw.zrange(keys_of(lock).alive, 0, -1, withscores=True)
    assert 5 < ends / 1000 - time.time() <= 7.05
    await lease.release()
    await (await promptly(waiter)).release()


@on_redis_and_fake
async def test_a_waiter_refreshes_its_liveness_twice_in_its_time(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it", waiter_ttl=0.3)
    lease = await s.lock("it").acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    key = keys_of(lock).alive
    until = time.monotonic() + 0.7
    while time.monotonic() < until:
        ((_, ends),) = place.raw.zrange(key, 0, -1, withscores=True)
        assert ends / 1000 > time.time(), "it counted as dead for a moment"
        await api.sleep(0.02)
    await lease.release()
    await (await waiter).release()


@on_redis
async def test_spans_of_time_as_timedelta(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it", ttl=timedelta(seconds=2.0005), waiter_ttl=timedelta(seconds=1))
    assert lock.ttl == 2.0005
    async with lock.acquire(timeout=timedelta(seconds=1)):
        assert 1900 < place.raw.pttl(keys_of(lock).lock) <= 2001
    # whole milliseconds, rounded up
    assert lock._claim.acquire_args[0] == 2001


# -- names ---------------------------------------------------------------------------

NAMES = [
    "x" * 512,
    "}",
    "}{",
    "{}",
    "{other}",
    " ",
    "a b",
    "*",
    "a?[b]",
    "a:b",
    "lock:a",
    "a}:lock:b",
    "%s %(x)s {0}",
    "ünï",
    "💥",
    "\u202eabc",
    "'\"`$(x)\\",
]


@everywhere
async def test_names_of_every_kind(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """All of them at once: none is taken for another."""
    meta = {"why": "\x1b[31m\n\u2028", "é": "💥"}
    leases = [await s.lock(name, meta=meta).acquire(timeout=0) for name in NAMES]
    assert [seen.name for seen in await s2.locks()] == sorted(NAMES)
    for name, lease in zip(NAMES, leases, strict=True):
        seen = await s2.lock(name).info()
        assert seen is not None
        assert (seen.name, seen.token, seen.meta) == (name, lease.token, meta)
        assert await s2.lock(name).try_acquire() is None
        await lease.release()
        assert place.untouched(s.lock(name))


@on_redis_and_fake
async def test_hostile_text_is_shown_escaped(s: AsyncSession) -> None:
    async with s.lock("💥 \\n", meta={"why": "\x1b[31m"}).acquire() as lease:
        assert repr(lease).isprintable()
        assert repr(await s.lock("💥 \\n").info()).isprintable()
