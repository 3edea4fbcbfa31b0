"""The server on a bad day: it forgets, it is full, or others write to our keys."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import on_redis, on_redis_and_fake
from contract.places import Place, keys_of, promptly, take
from coordkit import (
    AsyncLease,
    AsyncSession,
    FenceRegression,
    KeyConflict,
    LeaseLost,
    NotAllAdded,
    Reason,
    Refused,
    StaleToken,
    State,
)


async def renewed(api: Api, lease: AsyncLease) -> None:
    """Wait until the keeper has renewed it."""
    deadline = lease.deadline
    await api.until(lambda: lease.deadline > deadline)


# -- it forgets ----------------------------------------------------------------------


async def test_scripts_forgotten_between_any_two_calls(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=0.3)
    for _ in range(2):
        place.forget_scripts()
        lease = await lock.acquire()
        place.forget_scripts()
        await lease.renew()
        place.forget_scripts()
        assert await lock.info()
        place.forget_scripts()
        assert len(await s2.locks()) == 1
        place.forget_scripts()
        await renewed(api, lease)
        waiter = api.start(take(s2.lock("it", ttl=60, waiter_ttl=40)))
        await api.until(lambda: place.waiting(lock) == 1)
        place.forget_scripts()
        await lease.release()
        await (await promptly(waiter)).release()


@pytest.mark.parametrize("shared", [False, True])
async def test_data_lost_while_it_was_held(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession, shared: bool
) -> None:
    kept = await s.lock("kept", ttl=0.4, shared=shared).acquire()
    renewed = await s.lock("renewed", ttl=60, shared=shared).acquire()
    released = await s.lock("released", ttl=60, shared=shared).acquire()
    place.lose_data()
    with pytest.raises(LeaseLost, match="the server lost its data") as lost:
        await renewed.renew()
    assert lost.value.reason is Reason.DATA_LOST
    with pytest.raises(LeaseLost) as lost:
        await released.release()
    assert lost.value.reason is Reason.DATA_LOST
    assert await kept.lost.wait(5)
    assert kept.reason is Reason.DATA_LOST
    for lease in (kept, renewed):
        with pytest.raises(LeaseLost):
            await lease.release()
    async with s2.lock("kept").acquire(timeout=0) as next_lease:
        assert next_lease.token > released.token, "tokens rise all the same"


@on_redis_and_fake
async def test_data_lost_while_others_wait(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    lock = s2.lock("it", waiter_ttl=0.4)
    tokens: list[int] = []

    async def pass_through() -> None:
        async with lock.acquire(timeout=3) as granted:
            tokens.append(granted.token)

    waiters = [api.start(pass_through()) for _ in range(3)]
    await api.until(lambda: place.waiting(lock) == 3)
    place.lose_data()
    for waiter in waiters:
        await waiter
    assert tokens == sorted({lease.token, *tokens})[1:], "one after another"
    with pytest.raises(LeaseLost):
        await lease.release()
    await api.until(lambda: place.untouched(lock))


# -- others write to its keys --------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
async def test_its_key_is_deleted(
    api: Api, place: Place, s: AsyncSession, shared: bool
) -> None:
    def evict(name: str) -> None:
        keys = keys_of(s.lock(name))
        place.raw.delete(keys.holders if shared else keys.lock)

    kept = await s.lock("kept", ttl=0.4, shared=shared).acquire()
    other = await s.lock("other", ttl=0.4, shared=shared).acquire()
    renewed = await s.lock("renewed", shared=shared).acquire()
    released = await s.lock("released", shared=shared).acquire()
    for name in ("kept", "renewed", "released"):
        evict(name)
    with pytest.raises(LeaseLost, match="evicted or deleted") as lost:
        await renewed.renew()
    assert lost.value.reason is Reason.EVICTED
    with pytest.raises(LeaseLost) as lost:
        await released.release()
    assert lost.value.reason is Reason.EVICTED
    assert await kept.lost.wait(5)
    assert kept.reason is Reason.EVICTED
    assert other.held, "in the same batch"
    for lease in (kept, renewed):
        with pytest.raises(LeaseLost):
            await lease.release()
    await other.release()


async def test_a_renewal_does_not_bring_a_lease_back(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    place.raw.delete(keys_of(lock).lock)
    async with s2.lock("it").acquire(timeout=0) as thief:
        with pytest.raises(LeaseLost, match="another holder has it") as lost:
            await lease.renew()
        assert lost.value.reason is Reason.STOLEN
        assert lease.state is State.LOST
        with pytest.raises(LeaseLost):
            await lease.release()
        thief.check()
        assert await lock.info()


async def test_another_ttl_was_set_by_hand(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """The next renewal sets it right; one that comes too late finds nothing."""
    lock = s.lock("it", ttl=0.6)
    key = keys_of(lock).lock
    lease = await lock.acquire()
    for change in (place.raw.persist, lambda key: place.raw.pexpire(key, 60_000)):
        change(key)
        await renewed(api, lease)
        assert 0 < place.raw.pttl(key) <= 600
    place.raw.pexpire(key, 5)
    assert await lease.lost.wait(5)
    assert lease.reason is Reason.EVICTED
    with pytest.raises(LeaseLost):
        await lease.release()
    lease = await lock.acquire(timeout=0)
    place.raw.persist(key)
    await lease.release()
    assert place.untouched(lock)


@on_redis
async def test_who_waits_for_a_lock_without_a_ttl_asks_no_more_often(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it", ttl=60).acquire()
    lock = s2.lock("it", waiter_ttl=4)
    for waiting in (lock, s2.lock("it", shared=True, waiter_ttl=4)):
        place.raw.persist(keys_of(lock).lock)
        waiter = api.start(take(waiting))
        await api.until(lambda: place.waiting(lock) == 1)
        before = place.asked()
        await api.sleep(0.1)
        assert place.asked() - before < 5
        await lease.renew()
        await lease.release()
        lease = await waiter
    await lease.release()


@on_redis_and_fake
async def test_the_queue_was_deleted(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Whoever waited asks again by itself, within half of the waiter's ttl."""
    lease = await s.lock("it").acquire()
    lock = s2.lock("it", waiter_ttl=0.6)
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    keys = keys_of(lock)
    place.raw.delete(keys.queue, keys.alive, keys.waiters)
    await lease.release()
    await (await promptly(waiter)).release()


@on_redis_and_fake
async def test_the_last_token_was_deleted(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    async with lock.acquire() as lease:
        first = lease.token
        place.raw.delete(keys_of(lock).fence)
        await lease.renew()
    async with lock.acquire() as lease:
        assert lease.token > first


@on_redis_and_fake
async def test_the_clock_of_the_server_was_ahead(place: Place, s: AsyncSession) -> None:
    """Tokens go on from the last one, exactly, until the clock has caught up."""
    lock = s.lock("it")
    ahead = int((time.time() + 3600) * 1e6)
    place.raw.set(keys_of(lock).fence, ahead)
    for n in (1, 2, 3):
        async with lock.acquire() as lease:
            assert lease.token == ahead + n


async def test_a_store_that_went_back_in_time(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    ahead = int((time.time() + 3600) * 1e6)
    place.raw.set(keys_of(lock).fence, ahead)
    async with lock.acquire():
        pass
    place.raw.delete(keys_of(lock).fence)  # an old dump was restored
    for acquiring in (lock.acquire, lock.try_acquire):
        with pytest.raises(FenceRegression, match=r"'it'.*no lease was taken") as back:
            await acquiring()
        assert back.value.seen == ahead + 1
        assert back.value.token < ahead
        assert back.value.name == "it"
        assert place.untouched(lock), "nothing is held after a failed acquire"


# -- foreign values ------------------------------------------------------------------


@contextmanager
def foreign(place: Place, key: str) -> Generator[None]:
    """Put something else at a key of ours; it must be there afterwards."""
    place.raw.delete(key)
    place.raw.rpush(key, "not", "ours")
    yield
    assert place.raw.lrange(key, 0, -1) == ["not", "ours"]
    place.raw.delete(key)


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *((kind, False) for kind in ("lock", "queue", "holders", "fence", "index")),
        *((kind, True) for kind in ("lock", "queue", "holders", "fence", "index")),
        ("records", True),
    ],
)
@on_redis_and_fake
async def test_something_else_is_at_one_of_its_keys(
    place: Place, s: AsyncSession, kind: str, shared: bool
) -> None:
    lock = s.lock("it", shared=shared)
    keys = keys_of(lock)
    with foreign(place, getattr(keys, kind)):
        with pytest.raises(KeyConflict, match="another kind of value"):
            await lock.acquire(timeout=0.1)
        with pytest.raises(KeyConflict, match="another kind of value"):
            await lock.try_acquire()
        others = {"lock", "queue", "alive", "holders"} - {kind}
        assert not any(place.raw.exists(getattr(keys, other)) for other in others)
    async with lock.acquire(timeout=0):
        pass


@pytest.mark.parametrize("kind", ["queue", "alive", "waiters"])
@on_redis_and_fake
async def test_something_else_is_where_one_would_wait(
    place: Place, s: AsyncSession, s2: AsyncSession, kind: str
) -> None:
    lock = s2.lock("it", waiter_ttl=40)
    keys = keys_of(lock)
    async with s.lock("it").acquire() as lease:
        with foreign(place, getattr(keys, kind)):
            with pytest.raises(KeyConflict):
                await lock.acquire(timeout=1)
            others = {"queue", "alive", "waiters"} - {kind}
            assert not any(place.raw.exists(getattr(keys, other)) for other in others)
            await lease.renew()
    async with lock.acquire(timeout=0):
        pass


@on_redis_and_fake
async def test_something_else_was_put_at_the_key_of_a_held_lock(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """It is lost, and no other lease of the same renewal is."""
    names = ["a", "b", "c"]
    leases = {name: await s.lock(name, ttl=0.4).acquire() for name in names}
    shared = {n: await s.lock(n, ttl=0.4, shared=True).acquire() for n in ("x", "y")}
    b, x = keys_of(s.lock("b")).lock, keys_of(s.lock("x")).holders
    with foreign(place, b), foreign(place, x):
        assert await leases["b"].lost.wait(5)
        assert await shared["x"].lost.wait(5)
        assert leases["b"].reason is shared["x"].reason is Reason.CONFLICT
        others = [leases["a"], leases["c"], shared["y"]]
        deadlines = [lease.deadline for lease in others]
        await api.until(
            lambda: all(
                lease.deadline > deadline
                for lease, deadline in zip(others, deadlines, strict=True)
            )
        )
        assert {seen.name for seen in await s.locks()} == {"a", "c", "y"}
        with pytest.raises((LeaseLost, KeyConflict)):
            await leases["b"].release()
        with pytest.raises((LeaseLost, KeyConflict)):
            await shared["x"].release()
    for lease in others:
        await lease.release()


@on_redis_and_fake
async def test_something_else_is_asked_about(place: Place, s: AsyncSession) -> None:
    lock = s.lock("it")
    with foreign(place, keys_of(lock).lock):
        for ask in (lock.info, lock.break_, lock.revoke):
            with pytest.raises(KeyConflict):
                await ask()
    with foreign(place, keys_of(lock).index), pytest.raises(KeyConflict):
        await s.locks()


# -- it is full ----------------------------------------------------------------------


@contextmanager
def full(place: Place) -> Generator[None]:
    place.raw.config_set("maxmemory-policy", "noeviction")
    place.raw.config_set("maxmemory", 1)
    try:
        yield
    finally:
        place.raw.config_set("maxmemory", 0)


@on_redis
@pytest.mark.parametrize("options", [{}, {"shared": True}, {"hold_at_least": 0.01}])
async def test_a_full_server(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession, options: dict[str, Any]
) -> None:
    """Nothing more is taken, and all that is held can be kept and given back."""
    names = ["kept", "released", "revoked", "broken"]
    leases = {n: await s.lock(n, ttl=0.5, **options).acquire() for n in names}
    with full(place):
        for ask in (s2.lock("new").acquire, s2.lock("new", shared=True).try_acquire):
            with pytest.raises(Refused):
                await ask()
        with pytest.raises(Refused):
            await s2.lock("kept").acquire(timeout=1)
        await leases["released"].renew()
        await leases["released"].release()
        assert len(await s2.locks()) >= 3
        await s2.lock("broken").break_()
        with pytest.raises(LeaseLost):
            await leases["broken"].release()
        await renewed(api, leases["kept"])
        await leases["kept"].release()
    await leases["revoked"].release()
    for name in names:
        async with s2.lock(name).acquire(timeout=1):
            pass
    assert place.untouched(s.lock("new"))


@on_redis
async def test_that_it_is_full_is_told(place: Place, s: AsyncSession) -> None:
    with (
        full(place),
        pytest.raises(Refused, match="is out of memory and refuses to write"),
    ):
        await s.lock("it").acquire()


@on_redis
async def test_a_server_that_became_full_while_one_waited(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    lock = s2.lock("it", waiter_ttl=0.3)
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    with full(place):
        with pytest.raises(Refused):
            await waiter
        assert place.waiting(lock) == 0
        await lease.release()
    async with s.lock("it").acquire(timeout=0):
        pass


@on_redis
async def test_a_full_server_and_a_fence(place: Place, s: AsyncSession) -> None:
    fence = s.fence("it")
    await fence.set("field", "old", token=7)
    with full(place):
        with pytest.raises(Refused):
            await fence.set("field", "new", token=8)
        with pytest.raises(Refused):
            await fence.append("entry", token=8)
        with pytest.raises(Refused):
            await fence.check(8)
        await fence.check(7)
        assert await fence.get("field") == b"old"
        assert await fence.seen() == 7
        await fence.delete("field", token=8)
        assert await fence.get("field") is None
        assert await fence.seen() == 8


@on_redis
async def test_a_full_server_and_a_counter(place: Place, s: AsyncSession) -> None:
    counter = s.counter("it")
    await counter.add(5, token=7)
    await s.counter("wide", shards=3).add(1)
    with full(place):
        for ask in (
            counter.add(1),
            counter.add(1, token=8),
            counter.set(1),
            s.counter("new").add(1),
            s.counter("wide").add(1),
        ):
            with pytest.raises(Refused):
                await ask
        with pytest.raises(NotAllAdded) as told:
            await s.add_all({"it": 1, "new": 1})
        assert told.value.added == {}
        with pytest.raises(Refused):
            await anext(s.ids("it"))
        assert await counter.value() == 5
        assert [(i.name, i.value) for i in await s.counters()] == [
            ("it", 5),
            ("wide", 1),
        ]
        assert await s.counter("wide").delete() == 1
        assert await counter.delete(token=8) == 5
    with pytest.raises(StaleToken):
        await counter.add(1, token=7)
    assert await counter.add(1) == 1


@on_redis
async def test_a_full_server_hands_a_lock_over(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Or one that waits by hand would be the only one to know that it is free."""
    lock = s2.lock("it", ttl=60, waiter_ttl=40)
    lease = await s.lock("it", ttl=60).acquire()
    waiter = api.start(take(lock))
    await api.until(lambda: place.waiting(lock) == 1)
    with full(place):
        await lease.release()
        await (await promptly(waiter)).release()
    assert place.untouched(lock)
