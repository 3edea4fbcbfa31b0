"""Answers that are lost, late, halved or doubled: the caller must not notice, or be told."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from contract.flavours import Api, Threads
from contract.places import stranger
from coordkit import AsyncLease, AsyncLock, AsyncSession, LeaseLost, Unreachable
from coordkit._core.lock import (
    GIVEN_UP_MS,
    RELEASED_MS,
    acquire_call,
    release_call,
)
from coordkit._core.ops import Call
from coordkit._io.scripts import by_digest
from faults.conftest import CALL
from faults.network import ALL, QUESTION, asks
from faults.ruler import Ruler
from support.history import now
from support.proxy import Proxy
from support.servers import HOST, RedisServer

#: the reply is lost and the connection closed, or the connection is silent for ever
lost = pytest.mark.parametrize("close", [True, False], ids=["closed", "silent"])


async def holds_it_alone(lease: AsyncLease, peer: AsyncSession, raw: Any) -> None:
    """Check that *lease* is the only one, and the only token that was minted."""
    assert lease.held
    seen = await peer.lock(lease.name).info()
    assert seen is not None
    assert [(h.holder, h.token) for h in seen.holders] == [(lease.holder, lease.token)]
    assert int(raw.get(lease._claim.keys.fence)) == lease.token


async def is_free(api: Api, peer: AsyncSession, name: str, within: float) -> None:
    """Check that *name* is free soon, with nobody left in its queue."""
    with Ruler() as ruler:
        while await peer.lock(name).info() is not None:
            ruler.within(within)
            await api.sleep(0.01)
    async with await peer.lock(name, waiter_ttl=30).acquire(timeout=0):
        pass


# -- one reply is lost -----------------------------------------------------------------


@lost
@pytest.mark.parametrize("attempt", ["acquire", "try_acquire"])
async def test_reply_to_acquire(
    s: AsyncSession,
    peer: AsyncSession,
    raw: Any,
    proxy: Proxy,
    close: bool,
    attempt: str,
) -> None:
    proxy.lose_reply(match=asks("lock_acquire"), close=close)
    lock = s.lock("it", ttl=2)
    before = now()
    lease: AsyncLease | None
    if attempt == "try_acquire":
        lease = await lock.try_acquire()
    else:
        lease = await lock.acquire(timeout=5)
    assert lease is not None
    assert sum(proxy.struck.values()) == 1
    assert before < lease.deadline <= now() + 2, "counted from before a question"
    await holds_it_alone(lease, peer, raw)
    await lease.release()
    assert await peer.lock("it").info() is None


@lost
async def test_reply_to_acquire_of_one_of_two_slots(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    proxy.lose_reply(match=asks("share_acquire"), close=close)
    async with s.lock("it", ttl=2, slots=2).acquire() as lease:
        other = await peer.lock("it", slots=2).try_acquire()
        assert other is not None, "the lost reply took the second slot, too"
        assert await peer.lock("it", slots=2).try_acquire() is None
        assert other.token > lease.token
        await other.release()


@lost
@pytest.mark.parametrize("kind", ["lock", "share"])
async def test_reply_to_release(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool, kind: str
) -> None:
    slots = 1 if kind == "share" else None
    lease = await s.lock("it", ttl=2, slots=slots).acquire()
    proxy.lose_reply(match=asks(f"{kind}_release"), close=close)
    await lease.release()
    assert sum(proxy.struck.values()) == 1
    async with await peer.lock("it", slots=slots).acquire(timeout=0) as successor:
        assert successor.token > lease.token


@lost
async def test_reply_to_release_while_another_waits(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    """The first release lets the waiter have it; the second must not take it away."""
    lease = await s.lock("it", ttl=2).acquire()
    lock = peer.lock("it", ttl=2)

    async def wait() -> AsyncLease:
        return await lock.acquire(timeout=5)

    waiter = api.start(wait())
    await api.until(lambda: raw.zcard(lease._claim.keys.queue) == 1)
    proxy.lose_reply(match=asks("lock_release"), close=close)
    await lease.release()
    successor = await waiter
    assert successor.token > lease.token
    await holds_it_alone(successor, peer, raw)
    await successor.release()


@pytest.mark.parametrize(
    ("kind", "close"), [("lock", True), ("lock", False), ("share", True)]
)
async def test_reply_to_a_renewal(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    raw: Any,
    proxy: Proxy,
    close: bool,
    kind: str,
) -> None:
    slots = 1 if kind == "share" else None
    async with s.lock("it", ttl=1, slots=slots).acquire() as lease:
        began = lease.deadline
        proxy.lose_reply(match=asks(f"{kind}_renew"), close=close)
        await api.until(lambda: lease.deadline > began + 1 / 3 + 0.1)
        assert sum(proxy.struck.values()) == 1
        await holds_it_alone(lease, peer, raw)


@lost
async def test_reply_to_a_renewal_by_hand(
    s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    async with s.lock("it", ttl=30).acquire() as lease:
        began = lease.deadline
        proxy.lose_reply(match=asks("lock_renew"), close=close)
        await lease.renew()
        assert sum(proxy.struck.values()) == 1
        assert lease.deadline > began
        await holds_it_alone(lease, peer, raw)


# -- every reply is lost ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "silent", "black hole"])
async def test_every_reply_is_lost_until_the_caller_gives_up(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    raw: Any,
    proxy: Proxy,
    how: str,
) -> None:
    """The caller is told in time; its request is taken back as soon as that can be done."""
    timeout = 0.35
    lock = s.lock("it", ttl=60)
    await s.ping()
    if how == "black hole":
        proxy.delay(0.1, "to_client")  # the question gets through, the answer does not
    else:
        proxy.lose_reply(ALL, QUESTION, close=how == "closed")
    with Ruler() as ruler:

        async def ask() -> None:
            await lock.acquire(timeout=timeout)

        asking = api.start(ask())
        if how == "black hole":
            await api.until(lambda: raw.exists(lock._options.keys.lock))
            proxy.black_hole()
        with pytest.raises(Unreachable):
            await asking
        took = ruler.elapsed
    proxy.heal()
    await is_free(api, peer, "it", within=1.0)
    ruler.judge(took, timeout + CALL + 0.15)


async def test_a_release_without_an_answer_is_made_up_for(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy
) -> None:
    lease = await s.lock("it", ttl=60).acquire()
    proxy.black_hole()
    with Ruler() as ruler:
        with pytest.raises(Unreachable):
            await lease.release()
        ruler.within(3 * CALL + 0.15)
    proxy.heal(deliver=False)
    await is_free(api, peer, "it", within=1.0)


# -- ghosts and late duplicates --------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 0.4], ids=["try", "0.4"])
async def test_a_stalled_server_grants_to_a_caller_that_has_gone(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    server: RedisServer,
    timeout: float | None,
) -> None:
    """A ghost: the question sat in the socket of a server that did not run."""
    lock = s.lock("it", ttl=60)
    await s.ping()
    server.pause()
    with pytest.raises(Unreachable):
        await (lock.try_acquire() if timeout is None else lock.acquire(timeout))
    server.resume()
    await is_free(api, peer, "it", within=1.0)
    await api.sleep(0.1)  # nor does it come back
    assert await peer.lock("it").info() is None


def by_hand(raw: Any, call: Call) -> list[Any]:
    answer: list[Any] = raw.execute_command(*by_digest(call))
    return answer


@pytest.mark.parametrize("tombstone", ["there", "gone"])
async def test_late_duplicates_of_an_earlier_acquisition(
    s: AsyncSession, peer: AsyncSession, raw: Any, tombstone: str
) -> None:
    """Each acquisition is a request of its own: what belongs to the last one is dead."""
    lock: AsyncLock = s.lock("it", ttl=5)
    first = await lock.acquire()
    claim, renewal = first._claim, first._renewal()
    await first.release()
    second = await lock.acquire()
    if tombstone == "gone":
        raw.delete(claim.keys.tomb + first.holder)
    outcome = ["released"] if tombstone == "there" else ["not ours"]
    for _ in range(2):
        assert by_hand(raw, release_call(claim, first.holder, RELEASED_MS)) == outcome
        await holds_it_alone(second, peer, raw)
    late = Call(renewal.script, renewal.keys, renewal.args, CALL)
    assert by_hand(raw, late) == ["stolen"]
    assert by_hand(raw, acquire_call(claim, first.holder, queue=True)) == ["gone"]
    await holds_it_alone(second, peer, raw)
    await second.release()
    assert by_hand(raw, late) == ["evicted"], "a renewal never makes a lease"
    assert await peer.lock("it").info() is None


async def test_a_grant_that_ran_out_unheard_is_given_up_whole(
    api: Api, s: AsyncSession, raw: Any
) -> None:
    """Under a lock_delay the lock is still its own when it asks again, and queues."""
    lock = s.lock("it", ttl=0.1, lock_delay=5)
    claim, keys, rid = lock._options.claim("me", CALL), lock._options.keys, stranger()
    assert by_hand(raw, acquire_call(claim, rid, queue=True))[0] == "taken"
    await api.sleep(0.15)
    assert by_hand(raw, acquire_call(claim, rid, queue=True))[0] == "busy"
    assert by_hand(raw, release_call(claim, rid, GIVEN_UP_MS)) == ["released"]
    assert not raw.exists(keys.lock, keys.queue, keys.alive)


# -- reset in the middle ---------------------------------------------------------------


@pytest.mark.parametrize("script", ["lock_acquire", "lock_release"])
async def test_reset_in_the_middle_of_a_reply(
    s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, script: str
) -> None:
    proxy.cut_mid_reply(match=asks(script))
    lease = await s.lock("it", ttl=2).acquire()
    await holds_it_alone(lease, peer, raw)
    await lease.release()
    assert proxy.struck["cut_mid_reply"] == 1
    assert await peer.lock("it").info() is None


@pytest.mark.parametrize("script", ["lock_renew", "share_renew"])
async def test_reset_in_the_middle_of_ten_renewals(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy, script: str
) -> None:
    """Two kinds of lease are two calls of one trip: either answer may be the halved one."""
    locks = [s.lock(f"{n}", ttl=1.2, slots=3 if n % 2 else None) for n in range(10)]
    leases = [await lock.acquire() for lock in locks]
    began = {lease.name: lease.deadline for lease in leases}
    proxy.cut_mid_reply(match=asks(script))
    await api.until(lambda: all(x.deadline > began[x.name] + 0.4 for x in leases))
    assert proxy.struck["cut_mid_reply"] == 1
    for lease in leases:
        lease.check()
        seen = await peer.lock(lease.name).info()
        assert seen is not None
        assert [holder.token for holder in seen.holders] == [lease.token]
        await lease.release()


async def test_reset_in_the_middle_of_ten_acquisitions(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy
) -> None:
    """In asyncio code they share one write: some have their answer, the others ask again."""
    locks = [s.lock(f"{n}", ttl=5) for n in range(10)]
    proxy.cut_mid_reply(match=b"lock:6")

    async def take(lock: AsyncLock) -> AsyncLease:
        return await lock.acquire(timeout=5)

    leases = await api.all(*(take(lock) for lock in locks))
    assert proxy.struck["cut_mid_reply"] == 1
    for lease in leases:
        seen = await peer.lock(lease.name).info()
        assert seen is not None
        assert (seen.holder, seen.token) == (lease.holder, lease.token)
        await lease.release()


# -- a client that repeats by itself ---------------------------------------------------


async def test_a_users_client_with_ten_retries(
    api: Api, peer: AsyncSession, raw: Any, proxy: Proxy, namespace: str
) -> None:
    """Its own repetitions would be blind: only ours may ask again."""
    client: redis.Redis | redis.asyncio.Redis = (
        redis.Redis(
            host=HOST,
            port=proxy.port,
            retry=Retry(ConstantBackoff(0), 10),
            decode_responses=True,
        )
        if isinstance(api, Threads)
        else redis.asyncio.Redis(
            host=HOST,
            port=proxy.port,
            retry=AsyncRetry(ConstantBackoff(0), 10),
            decode_responses=True,
        )
    )
    session = api.session(client, namespace=namespace, timeout=CALL)
    proxy.lose_reply(match=asks("lock_acquire"))
    lease = await session.lock("it", ttl=5).acquire()
    await holds_it_alone(lease, peer, raw)
    proxy.reset_counts()
    proxy.lose_reply(ALL, asks("lock_info"))
    with pytest.raises(Unreachable):
        await session.lock("it").info()
    assert proxy.commands["EVALSHA"] <= 2, "not ten times"
    proxy.heal()
    raw.delete(lease._claim.keys.lock)
    with pytest.raises(LeaseLost, match="evicted"):
        await lease.release()
