"""A lock, whatever the flavour and the server."""

from __future__ import annotations

import copy
import pickle
import time

import pytest

from contract.flavours import Api, real
from contract.marks import everywhere, on_redis, uvloop_too
from contract.places import Place, keys_of, stranger
from coordkit import AsyncLease, AsyncLock, AsyncSession, LockTimeout


@everywhere
@uvloop_too
async def test_one_holder_at_a_time(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    other = s2.lock("it")
    assert await other.try_acquire() is None
    with pytest.raises(LockTimeout):
        await other.acquire(timeout=0.05)
    await lease.release()
    async with other.acquire(timeout=1) as lease2:
        assert lease2.held
    assert place.untouched(other)


@everywhere
@uvloop_too
async def test_many_workers_on_one_lock_object(api: Api, s: AsyncSession) -> None:
    lock = s.lock("it", ttl=10)
    inside: list[int] = []
    tokens: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            async with lock as lease:
                inside.append(number)
                tokens.append(lease.token)
                await api.sleep(0.001)
                assert inside == [number]
                inside.pop()

    await api.all(*(work(number) for number in range(8)))
    assert len(tokens) == 24
    assert tokens == sorted(set(tokens))


@everywhere
async def test_tokens_rise_with_every_holder(s: AsyncSession, s2: AsyncSession) -> None:
    tokens: list[int] = []
    for _ in range(5):
        for session in (s, s2):
            async with session.lock("it").acquire() as lease:
                tokens.append(lease.token)
    assert tokens == sorted(set(tokens))
    # From the server's clock, in microseconds: so they survive the loss of its data.
    assert abs(tokens[-1] - time.time() * 1e6) < 60e6
    assert tokens[-1] < 2**53


@everywhere
async def test_it_is_not_taken_twice_not_even_by_its_holder(s: AsyncSession) -> None:
    lock = s.lock("it")
    async with lock.acquire():
        assert await lock.try_acquire() is None
        with pytest.raises(LockTimeout):
            await lock.acquire(timeout=0.02)


@everywhere
async def test_names_and_namespaces_do_not_touch_each_other(
    s: AsyncSession, elsewhere: AsyncSession
) -> None:
    async with s.lock("it").acquire() as lease:
        for other in (s.lock("it:"), s.lock("i"), elsewhere.lock("it")):
            async with other.acquire(timeout=0) as another:
                assert another.holder != lease.holder


# -- asking ------------------------------------------------------------------------


@everywhere
async def test_try_acquire_never_queues(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it")
    async with s.lock("it").acquire():
        assert await lock.try_acquire() is None
        with pytest.raises(LockTimeout, match=r"'it' was not free within 0 s"):
            await lock.acquire(timeout=0)
        assert place.waiting(lock) == 0
    assert place.untouched(lock)


@everywhere
async def test_a_free_lock_belongs_to_its_live_head(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")
    place.enqueue(lock, stranger(), alive=0.25)
    assert await lock.try_acquire() is None
    with pytest.raises(LockTimeout):
        await lock.acquire(timeout=0)
    assert place.waiting(lock) == 1
    async with lock.acquire(timeout=3):
        assert place.waiting(lock) == 0


@everywhere
async def test_acquire_waits_as_long_as_it_is_told(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s2.lock("it")
    async with s.lock("it").acquire():
        began = time.monotonic()
        with pytest.raises(LockTimeout, match=r"'it' was not free within 0.12 s") as no:
            await lock.acquire(timeout=0.12)
        assert 0.12 <= time.monotonic() - began < 0.12 + 0.5
        assert (no.value.name, no.value.timeout) == ("it", 0.12)
        assert isinstance(no.value, TimeoutError)
        assert place.waiting(lock) == 0, "it left the queue"


@everywhere
async def test_acquire_without_a_limit_waits_until_it_is_free(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    lock = s2.lock("it")

    async def wait() -> AsyncLease:
        return await lock.acquire()

    waiter = api.start(wait())
    await api.until(lambda: place.waiting(lock) == 1)
    assert not waiter.done()
    await lease.release()
    await (await waiter).release()
    assert place.untouched(lock)


@everywhere
async def test_the_body_never_runs_without_the_lock(
    s: AsyncSession, s2: AsyncSession
) -> None:
    ran: list[str] = []
    async with s.lock("it").acquire():
        with pytest.raises(LockTimeout):
            async with s2.lock("it").acquire(timeout=0.02):
                ran.append("alone")
        with pytest.raises(LockTimeout):
            async with await s2.lock_all(["a", "it"]).acquire(timeout=0.02):
                ran.append("together")

        @s2.singleton("it")
        async def body() -> None:
            ran.append("decorated")

        with pytest.raises(LockTimeout):
            await body()
    assert ran == []


@everywhere
async def test_an_acquired_lock_may_be_entered_later(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")
    lease = await lock.acquire(timeout=1)
    async with lease as same:
        assert same == lease
    assert place.untouched(lock)


@everywhere
async def test_one_lock_entered_by_one_worker_for_several_others(
    api: Api, s: AsyncSession
) -> None:
    """What `with lock` entered is remembered by worker, not by lock."""
    lock = s.lock("it", slots=3)

    async def work() -> int:
        async with lock as outer, lock as inner:
            await api.sleep(0.01)
            assert outer.token < inner.token
            return inner.token

    tokens = await api.all(work())
    tokens += await api.all(work())
    assert tokens == sorted(set(tokens))


# -- what is shown -----------------------------------------------------------------


@on_redis
async def test_repr_of_a_lock(s: AsyncSession) -> None:
    def told(lock: AsyncLock) -> str:
        return repr(lock).replace("Async", "")

    assert told(s.lock("it", ttl=2.5)) == "<Lock 'it' ttl=2.5>"
    assert told(s.lock("it", shared=True)) == "<Lock 'it' ttl=30 shared>"
    assert told(s.lock("a\\b", slots=3)) == "<Lock 'a\\\\b' ttl=30 slots=3>"
    assert told(s.lock("it", fair=False)) == "<Lock 'it' ttl=30 unfair>"
    lock = s.lock("it", ttl=2.5)
    assert (lock.name, lock.ttl) == ("it", 2.5)


@on_redis
async def test_a_lock_is_neither_pickled_nor_copied(s: AsyncSession) -> None:
    lock = real(s.lock("it"))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot be pickled or copied"):
            attempt(lock)


@on_redis
async def test_making_a_lock_sends_nothing(
    api: Api, place: Place, s: AsyncSession
) -> None:
    def connections() -> int:
        known: int = place.raw.info("stats")["total_connections_received"]
        return known

    before = connections()
    s.lock("it").acquire  # noqa: B018 -- a look at it asks nothing either
    s.lock_all(["a", "b"])
    s.fence("it")
    s.singleton("it")
    assert connections() == before


@on_redis
async def test_a_lock_costs_one_question_and_its_release_another(
    place: Place, s: AsyncSession
) -> None:
    lock = s.lock("it")
    async with lock.acquire():  # the scripts are known from here on
        assert place.raw.hget(keys_of(lock).lock, "identity") == s.identity
    before = place.asked()
    for _ in range(10):
        async with lock.acquire():
            pass
    assert place.asked() - before == 20
