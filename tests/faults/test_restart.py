"""A server that loses its data, or comes back with old data, or says "not now"."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from contract.flavours import Api
from coordkit import (
    AsyncLease,
    AsyncLock,
    AsyncSession,
    FenceRegression,
    LeaseLost,
    Reason,
    Unreachable,
)
from coordkit._core.keys import lock_keys
from faults.conftest import CALL
from faults.network import ALL, asks
from faults.ruler import Ruler
from support.polling import until
from support.proxy import Proxy
from support.servers import HOST, RedisServer, free_port

kinds = pytest.mark.parametrize("slots", [None, 1], ids=["alone", "slots"])


# -- all data is lost ------------------------------------------------------------------


@kinds
async def test_restarted_empty_while_held(
    s: AsyncSession,
    peer: AsyncSession,
    server: RedisServer,
    slots: int | None,
) -> None:
    lease = await s.lock("it", ttl=1.5, slots=slots).acquire()
    server.kill()
    server.restart(empty=True)
    with Ruler() as ruler:
        assert await lease.lost.wait(3)
        ruler.within(1.5 / 3 * 1.1 + 0.4)
    assert lease.lost.reason is Reason.DATA_LOST
    with pytest.raises(LeaseLost, match="data"):
        await lease.release()
    async with peer.lock("it", slots=slots).acquire(timeout=0) as successor:
        assert successor.token > lease.token


async def test_restarted_empty_and_taken_by_another(
    s: AsyncSession, peer: AsyncSession, server: RedisServer
) -> None:
    """The one thing that no lock on one Redis excludes: two holders, for a renewal's time."""
    lease = await s.lock("it", ttl=2).acquire()
    server.restart(empty=True)
    successor = await peer.lock("it").acquire(timeout=1)
    assert successor.token > lease.token
    assert await lease.lost.wait(2)
    assert lease.reason is not Reason.EXPIRED, "told at the next renewal"
    with pytest.raises(LeaseLost):
        await lease.release()
    successor.check()
    await successor.release()


async def test_restarted_empty_while_others_wait(
    api: Api, s: AsyncSession, peer: AsyncSession, server: RedisServer
) -> None:
    lease = await peer.lock("it", ttl=2).acquire()

    async def wait() -> int:
        async with s.lock("it", ttl=2, waiter_ttl=1).acquire(timeout=10) as mine:
            return mine.token

    waiters = [api.start(wait()) for _ in range(3)]
    await api.sleep(0.2)
    server.restart(empty=True)
    tokens = [await waiter for waiter in waiters]
    assert min(tokens) > lease.token
    assert len(set(tokens)) == 3
    assert await lease.lost.wait(3)


async def test_flushall_under_load(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any
) -> None:
    """Whoever held it is told; tokens never repeat and rise in the order of granting."""
    over = time.monotonic() + 1.2
    grants: list[int] = []
    lost: list[Reason] = []

    async def work(lock: AsyncLock) -> None:
        while time.monotonic() < over:
            asked = len(grants)
            try:
                async with lock.acquire(timeout=10) as lease:
                    assert all(lease.token > token for token in grants[:asked])
                    grants.append(lease.token)
                    await api.sleep(0.005)
            except LeaseLost as exc:
                lost.append(exc.reason)

    async def flush() -> None:
        while time.monotonic() < over - 0.5:
            await api.sleep(0.1)
            raw.flushall()

    locks = [x.lock("it", ttl=1, waiter_ttl=0.5) for x in (s, peer) for _ in range(3)]
    await api.all(*(work(lock) for lock in locks), flush())
    assert len(set(grants)) == len(grants) > 50
    assert len(lost) >= 3
    assert set(lost) <= {Reason.DATA_LOST, Reason.STOLEN, Reason.EVICTED}


# -- no data is lost -------------------------------------------------------------------


async def test_restarted_with_its_journal(api: Api, namespace: str) -> None:
    """AOF, synced always: the same lease goes on, waiters keep their order, fences hold."""
    with RedisServer(persistence="always") as server:
        s = api.session(server.url, namespace=namespace, timeout=CALL)
        peer = api.session(server.url, namespace=namespace, timeout=CALL)
        witness = api.session(server.url, namespace=namespace, timeout=CALL)
        lease = await s.lock("it", ttl=2).acquire()
        await s.fence("it").set("by", "the holder", token=lease.token)

        async def wait() -> AsyncLease:
            return await peer.lock("it", waiter_ttl=2).acquire(timeout=10)

        waiter = api.start(wait())
        await api.sleep(0.2)
        server.kill()
        server.restart()
        began = lease.deadline
        await api.until(lambda: lease.deadline > began or lease.lost.is_set())
        lease.check()
        seen = await witness.lock("it").info()
        assert seen is not None
        assert (seen.holder, seen.token) == (lease.holder, lease.token)
        assert await witness.fence("it").get("by") == b"the holder"
        assert not waiter.done()
        await lease.release()
        successor = await waiter
        assert successor.token > lease.token
        await successor.release()


@pytest.mark.parametrize(
    "question", ["info", "locks", "get", "set", "renew", "release", "ping"]
)
async def test_a_connection_that_was_closed_while_idle_costs_nothing(
    s: AsyncSession, raw: Any, question: str
) -> None:
    """The server is there, only not the one of before: it restarted, or closed what idled."""
    lock, fence = s.lock("it"), s.fence("it")
    lease = await lock.acquire()
    raw.client_kill_filter(_type="normal", skipme=True)
    match question:
        case "info":
            assert await lock.info() is not None
        case "locks":
            assert len(await s.locks()) == 1
        case "get":
            assert await fence.get("field") is None
        case "set":
            await fence.set("field", "value", token=lease.token)
        case "renew":
            await lease.renew()
        case "ping":
            await s.ping()
        case _:
            pass
    await lease.release()


# -- old data comes back ---------------------------------------------------------------


async def test_an_old_dump_is_restored(
    s: AsyncSession, peer: AsyncSession, server: RedisServer, raw: Any
) -> None:
    """The fence is behind, and an old holder is back: tokens rise all the same."""
    lock = s.lock("it", ttl=0.9)
    old = await lock.acquire()
    raw.save()
    await old.release()
    tokens = [old.token]
    for _ in range(20):
        async with lock.acquire() as lease:
            tokens.append(lease.token)
    lease = await lock.acquire()
    tokens.append(lease.token)
    server.kill()
    server.restart()
    fence = lock_keys(s.namespace, "it").fence
    assert int(raw.get(fence)) == old.token, "the dump is really old"
    assert await lease.lost.wait(3)
    assert lease.reason in (Reason.STOLEN, Reason.DATA_LOST)
    for session in (s, peer):
        async with session.lock("it").acquire(timeout=5) as after:
            tokens.append(after.token)
    assert tokens == sorted(set(tokens))
    (server.directory / "data" / "dump.rdb").unlink()


async def test_data_are_lost_and_the_clock_went_back(
    s: AsyncSession, peer: AsyncSession, raw: Any
) -> None:
    """Then tokens could fall: whoever saw a higher one refuses, and holds nothing."""
    keys = lock_keys(s.namespace, "it")
    ahead = int((time.time() + 3600) * 1e6)
    raw.set(keys.fence, ahead)
    lock = s.lock("it")
    async with lock.acquire() as lease:
        assert lease.token == ahead + 1
    raw.delete(keys.fence)
    for attempt in (lock.acquire, lock.try_acquire):
        with pytest.raises(FenceRegression) as back:
            await attempt()
        assert back.value.seen == ahead + 1
        assert back.value.token < back.value.seen
        assert await peer.lock("it").info() is None, "nothing is held after it failed"
    async with peer.lock("it").acquire(timeout=0):
        pass


# -- not now ---------------------------------------------------------------------------


@contextmanager
def busy(server: RedisServer) -> Generator[None]:
    """Have another client run a script without end: everybody else is told BUSY."""
    with server.client() as client, server.client() as rescue:
        rescue.config_set("lua-time-limit", 50)

        def run() -> None:
            with pytest.raises(redis.ResponseError, match="killed"):
                client.eval("while true do end", 0)

        thread = threading.Thread(target=run)
        thread.start()

        def is_busy() -> bool:
            try:
                rescue.ping()
            except redis.ResponseError as error:
                return "BUSY" in str(error)
            return False

        until(is_busy)
        try:
            yield
        finally:
            rescue.script_kill()
            thread.join()


@contextmanager
def demoted(server: RedisServer) -> Generator[None]:
    """Make it the replica of nobody: everybody is told READONLY."""
    with server.client() as client:
        client.replicaof(HOST, str(free_port()))
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def orphaned(server: RedisServer) -> Generator[None]:
    """The same, and it must not answer with old data: everybody is told MASTERDOWN."""
    with server.client() as client:
        client.config_set("replica-serve-stale-data", "no")
        with demoted(server):
            yield
        client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def loading(server: RedisServer) -> Generator[None]:
    """Have it read a long dump: everybody is told LOADING."""
    with server.client() as client:
        for number in range(60):
            client.set(f"ballast:{number}", secrets.token_hex(1000))  # incompressible
        client.save()
    server.kill()
    configuration = server.directory / "server.conf"
    before = configuration.read_text()
    slow = "key-load-delay 20000\nloading-process-events-interval-bytes 1024\n"
    configuration.write_text(before + slow)
    thread = threading.Thread(target=server.restart)
    thread.start()

    def is_loading() -> bool:
        try:
            with server.client() as client:
                client.get("ballast:0")
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            pass
        return False

    until(is_loading)
    try:
        yield
    finally:
        thread.join()
        configuration.write_text(before)
        (server.directory / "data" / "dump.rdb").unlink()


@contextmanager
def lonely(server: RedisServer) -> Generator[None]:
    """Have it want a replica that it has not: everybody is told NOREPLICAS."""
    with server.client() as client:
        client.config_set("min-replicas-to-write", "1")
        yield
        client.config_set("min-replicas-to-write", "0")


@contextmanager
def unsaved(server: RedisServer) -> Generator[None]:
    """Have it fail to save: everybody is told MISCONF."""
    in_the_way = server.directory / "data" / "dump.rdb"
    in_the_way.mkdir()
    with server.client() as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        in_the_way.rmdir()
        client.config_set("save", "")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")
    in_the_way.unlink()


not_now = pytest.mark.parametrize(
    "says", [busy, demoted, orphaned, loading, lonely, unsaved]
)


@not_now
async def test_not_now_is_not_no(
    api: Api,
    s: AsyncSession,
    server: RedisServer,
    says: Callable[[RedisServer], Any],
) -> None:
    """Who holds goes on, who insists is served later, who does not is told "unknown"."""
    lease = await s.lock("held", ttl=2.4).acquire()
    began = lease.deadline

    async def insist() -> AsyncLease:
        return await s.lock("it", ttl=2.4).acquire(timeout=8)

    with says(server):
        with pytest.raises(Unreachable, match="cannot answer now"):
            await s.lock("free").try_acquire()
        with pytest.raises(Unreachable, match="cannot answer now"):
            await s.lock("free").acquire(timeout=0)
        with pytest.raises(Unreachable):
            await s.fence("it").set("field", "value", token=1)
        insisting = api.start(insist())
        await api.sleep(0.3)
        assert not insisting.done()
        assert lease.held
    mine = await insisting
    assert mine.held
    await api.until(lambda: lease.deadline > began or lease.lost.is_set())
    lease.check()
    await mine.release()
    await lease.release()
    assert await s.lock("free").info() is None


@pytest.mark.parametrize("says", [busy, demoted, lonely])
async def test_a_request_given_up_is_taken_back_after_not_now(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    server: RedisServer,
    raw: Any,
    proxy: Proxy,
    says: Callable[[RedisServer], Any],
) -> None:
    """It was granted, unheard; when its caller gave up, the server said "not now"."""
    lock = s.lock("it", ttl=60)
    await s.ping()
    proxy.lose_reply(ALL, asks("lock_acquire"))

    async def acquire() -> None:
        with pytest.raises(Unreachable):
            await lock.acquire(timeout=0.5)

    acquiring = api.start(acquire())
    await api.until(lambda: raw.exists(lock._options.keys.lock))
    with says(server):
        await acquiring
        await api.sleep(0.3)  # the keeper asks, and is told the same
    with Ruler() as ruler:
        while await peer.lock("it").info() is not None:
            ruler.within(1.0)
            await api.sleep(0.02)


async def test_a_release_is_made_up_for_after_not_now(
    api: Api, s: AsyncSession, peer: AsyncSession, server: RedisServer
) -> None:
    lease = await s.lock("it", ttl=60).acquire()
    with busy(server):
        with pytest.raises(Unreachable):
            await lease.release()
        await api.sleep(0.3)
    with Ruler() as ruler:
        while await peer.lock("it").info() is not None:
            ruler.within(1.0)
            await api.sleep(0.02)
