"""What an operator sees and does: info, locks, break, revoke."""

from __future__ import annotations

import logging
import os
import socket
import time

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place, keys_of, stranger, unkeep
from coordkit import AsyncLock, AsyncSession, Holder, LeaseLost, LockTimeout, Reason


@everywhere
async def test_info_of_a_held_lock(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it", ttl=20, meta={"reason": "tests", "n": [1, None]})
    assert await lock.info() is None
    async with lock.acquire() as lease:
        for seen in (await lock.info(), await s2.lock("it").info()):
            assert seen is not None
            assert (seen.name, seen.mode, seen.limit) == ("it", "alone", None)
            assert (seen.holder, seen.token) == (lease.holder, lease.token)
            assert seen.identity == s.identity
            assert 19 < seen.expires_in <= 20
            assert abs(seen.since - time.time()) < 5
            assert seen.waiters == 0
            assert seen.meta == {"reason": "tests", "n": [1, None]}
            assert seen.holders == (
                Holder(
                    lease.holder,
                    s.identity,
                    lease.token,
                    seen.expires_in,
                    seen.since,
                    seen.meta,
                ),
            )
        place.enqueue(lock, stranger(), stranger(), alive=5)
        place.enqueue(lock, stranger(), alive=-1)
        seen = await lock.info()
        assert seen is not None
        assert seen.waiters == 2, "the dead are not counted"
    assert await lock.info() is None


@on_redis_and_fake
async def test_an_identity_says_where_to_look(
    api: Api, place: Place, s: AsyncSession, namespace: str
) -> None:
    assert s.identity.startswith(f"{socket.gethostname()}:{os.getpid()}:")
    named = api.session(place.where(api), namespace=namespace, identity="worker 7")
    async with named.lock("it").acquire():
        seen = await s.lock("it").info()
        assert seen is not None
        assert seen.identity == named.identity == "worker 7"


@everywhere
async def test_locks_lists_what_is_held_in_the_namespace(
    s: AsyncSession, s2: AsyncSession, elsewhere: AsyncSession
) -> None:
    names = ["b", "a:1", "ü 💥", "*", "c", "lock:x"]
    assert await s.locks() == []
    leases = [await s.lock(name).acquire() for name in names]
    shared = [await each.lock("shared", shared=True).acquire() for each in (s, s2)]
    async with elsewhere.lock("other").acquire():
        seen = await s2.locks()
        assert [each.name for each in seen] == sorted([*names, "shared"])
        assert {each.name: each.token for each in seen} == {
            lease.name: lease.token for lease in [*leases, shared[0]]
        }
        assert [each.mode for each in seen if len(each.holders) == 2] == ["shared"]
    for lease in [*leases, *shared]:
        await lease.release()
    assert await s.locks() == []


@on_redis_and_fake
async def test_locks_does_not_list_what_has_ended_by_itself(
    api: Api, place: Place, s: AsyncSession
) -> None:
    await s.locks()  # knows the scripts, and a cluster's nodes, from here on
    lock = s.lock("it", ttl=0.3)
    lease = await lock.acquire()
    unkeep(lease)
    assert len(await s.locks()) == 1
    await api.until(lambda: not place.raw.exists(keys_of(lock).lock))
    assert await s.locks() == []
    with pytest.raises(LeaseLost):
        await lease.release()


@on_redis
async def test_locks_of_many_names(s: AsyncSession) -> None:
    names = [f"it {n:03}" for n in range(300)]
    leases = [await s.lock(name).acquire() for name in names]
    assert [seen.name for seen in await s.locks()] == names
    for lease in leases:
        await lease.release()


# -- break -------------------------------------------------------------------------


async def test_a_broken_lock_goes_to_the_next_waiter(
    api: Api,
    place: Place,
    s: AsyncSession,
    s2: AsyncSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = s.lock("it", ttl=0.6)
    lease = await lock.acquire()
    other = s2.lock("it")
    waiter = api.start(take(other))
    await api.until(lambda: place.waiting(other) == 1)
    with caplog.at_level(logging.WARNING, logger="coordkit"):
        seen = await other.break_(reason="stuck since Monday")
    assert seen is not None
    assert (seen.holder, seen.token) == (lease.holder, lease.token)
    assert "stuck since Monday" in caplog.text
    assert "'it'" in caplog.text
    token = await waiter
    assert token > lease.token
    assert lease.held, "it has not heard of it"
    assert await lease.lost.wait(5)
    assert lease.reason is Reason.BROKEN
    with pytest.raises(LeaseLost) as lost:
        await lease.release()
    assert (lost.value.name, lost.value.token) == ("it", lease.token)


async def take(lock: AsyncLock) -> int:
    async with lock.acquire(timeout=10) as lease:
        return lease.token


async def test_a_broken_holder_cannot_release_the_next_one(
    s: AsyncSession, s2: AsyncSession
) -> None:
    lease = await s.lock("it").acquire()
    await s2.lock("it").break_()
    async with s2.lock("it").acquire(timeout=1) as next_lease:
        with pytest.raises(LeaseLost, match="an operator broke it"):
            await lease.release()
        seen = await s.lock("it").info()
        assert seen is not None
        assert seen.holder == next_lease.holder
        next_lease.check()


async def test_nothing_to_break(s: AsyncSession) -> None:
    assert await s.lock("it").break_(reason="by mistake") is None
    assert await s.lock("it").revoke() is None


async def test_break_of_a_shared_lock_breaks_all_of_it(
    s: AsyncSession, s2: AsyncSession
) -> None:
    readers = [
        await session.lock("it", shared=True).acquire() for session in (s, s2, s2)
    ]
    seen = await s.lock("it").break_()
    assert seen is not None
    assert {held.holder for held in seen.holders} == {r.holder for r in readers}
    async with s.lock("it").acquire(timeout=1):
        for reader in readers:
            with pytest.raises(LeaseLost, match="an operator broke it"):
                await reader.release()


# -- revoke ------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
async def test_a_revoked_holder_is_asked_to_let_go(
    api: Api, s: AsyncSession, s2: AsyncSession, shared: bool
) -> None:
    lock = s.lock("it", ttl=0.4, shared=shared)
    lease = await lock.acquire()
    seen = await s2.lock("it").revoke()
    assert seen is not None
    assert seen.holder == lease.holder
    with pytest.raises(LockTimeout):
        await s2.lock("it").acquire(timeout=0.01)
    assert await lease.lost.wait(5)
    assert lease.reason is Reason.REVOKED
    with pytest.raises(LeaseLost, match="its holder was asked to let go"):
        await lease.release()
    async with s2.lock("it").acquire(timeout=0.1):  # released, not run out
        pass


async def test_a_revocation_is_for_its_holder_only(
    s: AsyncSession, s2: AsyncSession
) -> None:
    lock = s.lock("it")
    lease = await lock.acquire()
    await s2.lock("it").revoke()
    await lease.release()
    async with s2.lock("it").acquire(timeout=1) as next_lease:
        await next_lease.renew()


async def test_revoked_and_then_renewed_by_hand(
    s: AsyncSession, s2: AsyncSession
) -> None:
    async def revoked() -> None:
        async with s.lock("it").acquire() as lease:
            await s2.lock("it").revoke()
            await lease.renew()

    with pytest.raises(LeaseLost) as lost:
        await revoked()
    assert lost.value.reason is Reason.REVOKED
    async with s2.lock("it").acquire(timeout=0.1):
        pass
