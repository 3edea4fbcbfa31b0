"""What was looked up is kept fresh, by hint and by truth; and too old is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from contract.flavours import Api, Threads
from contract.forks import in_child
from contract.marks import everywhere, on_redis, only_async, only_sync
from contract.places import Place
from contract.ringplay import KEYS, NODES, a_ring, keys_of, known
from coordkit import (
    AsyncRing,
    AsyncSession,
    EmptyRing,
    Resumed,
    RingChange,
    RingInfo,
    StaleRing,
    Suspended,
    Unreachable,
)
from support.servers import RedisServer

SOON = 1.0


def at(ring: AsyncRing, version: int) -> Callable[[], bool]:
    return lambda: ring.version == version


@everywhere
async def test_a_change_of_another_is_seen_without_asking(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    mine = await a_ring(s)
    theirs = await known(s2.ring("shards"))
    for number in range(3):
        await mine.add(f"more {number}")
        began = time.monotonic()
        await api.until(at(theirs, mine.version))
        if number:  # of threads, the first may still be about to listen
            assert time.monotonic() - began < SOON
        assert theirs.owner_many(KEYS) == mine.owner_many(KEYS)


@only_sync
async def test_a_thread_asks_by_itself_at_its_first_lookup(s: AsyncSession) -> None:
    await s.ring("shards").add(NODES)
    assert s.ring("shards").owner("user:42") in NODES
    assert s.ring("shards").version == 1
    with pytest.raises(EmptyRing, match="there is no ring 'other'"):
        s.ring("other").owner("user:42")


@only_async
async def test_a_task_must_have_asked_before_its_first_lookup(s: AsyncSession) -> None:
    ring = s.ring("shards")
    await ring.add(NODES)
    for ask in (lambda: ring.owner("a"), lambda: ring.version, ring.nodes, ring.stats):
        with pytest.raises(StaleRing, match=r"await refresh\(\) first"):
            ask()
    await ring.refresh()
    assert ring.owner("user:42") in NODES


@on_redis
async def test_all_objects_of_a_name_share_what_is_known(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    asked = place.asked()
    for _ in range(100):
        assert s.ring("shards").owner("a") == ring.owner("a")
    assert place.asked() - asked <= 2, "but what the follower asks meanwhile"


@on_redis
async def test_many_rings_are_followed_in_one_thread_or_task(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    async with s.lock("warm").acquire(), s2.lock("warm 2").acquire():
        threads = threading.active_count()
        rings = [await a_ring(s, f"ring {n}") for n in range(10)]
        threads = threading.active_count() - threads
        assert threads == (1 if isinstance(api, Threads) else 0)
        await api.sleep(0.6)  # all are listened to by then
        for n in range(10):
            await s2.ring(f"ring {n}").add("new")
        began = time.monotonic()
        await api.until(lambda: all(ring.version == 3 for ring in rings))
        assert time.monotonic() - began < SOON


@on_redis
async def test_a_ring_may_come_go_and_come_again(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = s2.ring("shards")
    with pytest.raises(EmptyRing):
        await ring.refresh()

    def owners() -> set[str]:
        try:
            return set(ring.owner_many(KEYS))
        except EmptyRing:
            return set()

    for names in ("a", "bc"):
        await s.ring("shards").add(dict.fromkeys(names, 1.0))
        await api.until(lambda: owners() == {*names})  # noqa: B023 -- called at once
        await s.ring("shards").delete()
        await api.until(lambda: owners() == set())
    with pytest.raises(EmptyRing, match="there is no ring 'shards'"):
        ring.owner("a")


@on_redis
async def test_a_lost_hint_is_made_up_for(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """The line is cut while the change is made: it asks when the line stands again."""
    mine, theirs = await a_ring(s), await known(s2.ring("shards"))
    for _ in range(3):
        place.raw.client_kill_filter(_type="pubsub")
        await mine.reweight("cache-1", mine.version)
        await api.until(at(theirs, mine.version))


@pytest.mark.slow
@on_redis
async def test_without_any_hint_the_version_is_asked_for(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """As behind something that lets no message through."""
    ring = await a_ring(s)
    keys = keys_of(s)
    place.raw.hset(keys.meta, "birth", "b" * 32)  # a change that nobody publishes
    began = time.monotonic()
    await api.until(lambda: ring._local.known().birth == "b" * 32, timeout=10)
    assert time.monotonic() - began < 6


@pytest.mark.slow
async def test_too_old_is_told_and_mended(api: Api, namespace: str) -> None:
    with RedisServer() as server:
        session = api.session(server.url, namespace=namespace, timeout=0.2)
        other = api.session(server.url, namespace=namespace, timeout=1)
        patient = session.ring("shards")
        ring = session.ring("shards", max_staleness=1.0)
        await patient.add(NODES)
        await known(patient)
        await known(ring)
        owners = ring.owner_many(KEYS)
        server.pause()
        try:
            assert ring.owner_many(KEYS) == owners, "for a while it may be gone by"
            began = time.monotonic()
            await api.until(lambda: _is_stale(ring))
            assert time.monotonic() - began < 2.5
            for ask in (
                lambda: ring.owner("a"),
                lambda: ring.owners("a", n=2),
                lambda: ring.locate("a"),
                lambda: ring.version,
                ring.stats,
            ):
                with pytest.raises(StaleRing, match=r"'shards' .* no answer for 1 s"):
                    ask()
            assert patient.owner_many(KEYS) == owners
            with pytest.raises(Unreachable):
                await ring.refresh()
        finally:
            server.resume()
        await api.until(lambda: not _is_stale(ring))
        assert ring.owner_many(KEYS) == owners
        await other.ring("shards").add("cache-4")
        await api.until(at(ring, 2))


def _is_stale(ring: Any) -> bool:
    try:
        ring.owner("a")
    except StaleRing:
        return True
    return False


@pytest.mark.slow
async def test_a_server_that_lost_its_data_has_no_ring(
    api: Api, namespace: str
) -> None:
    with RedisServer() as server:
        session = api.session(server.url, namespace=namespace, timeout=0.5)
        ring = session.ring("shards")
        await ring.add(NODES)
        await known(ring)
        server.restart()

        def lost() -> bool:
            try:
                ring.owner("a")
            except EmptyRing:
                return True
            return False

        await api.until(lost, timeout=15)
        await ring.add({"again": 1.0})
        await api.until(lambda: not lost())
        assert ring.owner("a") == "again"


async def test_a_closed_session_answers_no_more(
    api: Api, place: Place, namespace: str
) -> None:
    session = api.session(place.where(api), namespace=namespace)
    ring = await a_ring(session)
    unasked = session.ring("other")
    await session.close()
    with pytest.raises(StaleRing, match="session is closed"):
        ring.owner("a")
    with pytest.raises((RuntimeError, StaleRing)):
        unasked.owner("a")
    with pytest.raises(RuntimeError, match="session is closed"):
        await ring.refresh()


@only_async
@everywhere
async def test_a_session_is_closed_whatever_its_follower_is_at(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """Before Python 3.12 the first cancellation may get lost on the way to a Sentinel."""
    await a_ring(s)
    for turns in range(30):
        session = api.session(place.where(api), namespace=s.namespace)
        await session.ring("shards").refresh()
        for _ in range(turns):
            await api.sleep(0)
        async with asyncio.timeout(5):
            await session.close()


@only_sync
@on_redis
async def test_a_child_process_asks_anew(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s)
    owners = ring.owner_many(KEYS)
    changed = s2.ring("shards")

    def child() -> None:
        assert ring.owner_many(KEYS) == owners
        assert threading.active_count() == 2, "this thread and a follower of its own"

    assert in_child(child) == 0
    await changed.add("cache-4")
    await api.until(at(ring, 3))


# -- watching -----------------------------------------------------------------------------------


@everywhere
async def test_who_watches_is_told_every_change(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s)
    watching: Any = s2.ring("shards").watch()
    first = await anext(watching)
    assert first == RingInfo("shards", 2, 1024, "balanced", 1, 3)
    later = api.start(anext(watching))
    made = [await ring.add("cache-4"), await ring.remove("cache-1")]
    assert [await later, await anext(watching)] == made
    later = api.start(anext(watching))
    await api.sleep(0.1)
    began = time.monotonic()
    change = await ring.reweight("cache-4", 2)
    assert await later == change
    assert isinstance(change, RingChange)
    assert time.monotonic() - began < SOON
    await watching.aclose()


@pytest.mark.slow
async def test_who_watches_is_told_of_silence(api: Api, namespace: str) -> None:
    with RedisServer() as server:
        session = api.session(server.url, namespace=namespace, timeout=0.3)
        other = api.session(server.url, namespace=namespace, timeout=1)
        ring = other.ring("shards")
        await ring.add(NODES)
        watching: Any = session.ring("shards").watch()
        assert isinstance(await anext(watching), RingInfo)
        server.pause()
        silence = api.start(anext(watching))
        try:
            await api.until(silence.done, timeout=15)
        finally:
            server.resume()
        assert isinstance(await silence, Suspended)
        assert isinstance(await anext(watching), Resumed)
        later = api.start(anext(watching))
        change = await ring.add("cache-4")
        assert await later == change
        await watching.aclose()
