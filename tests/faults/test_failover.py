"""A master that dies, or only seems to: the session finds the new one, tokens rise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.flavours import Api
from coordkit import AsyncLease
from coordkit._core.keys import lock_keys
from faults.both import Story, playing
from faults.conftest import CALL
from support.polling import until
from support.servers import HOST, RedisServer, Sentinels


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    # A busy machine must not look like a dead master.
    with Sentinels(down_after=1.0) as started:
        yield started


def replicated(sentinels: Sentinels) -> None:
    """Wait until the replica has all that the master has."""
    master = sentinels.master.info("replication")

    def caught_up() -> bool:
        replica: dict[str, Any] = sentinels.replica.info("replication")
        return bool(replica["slave_repl_offset"] >= master["master_repl_offset"])

    until(caught_up)


def has(server: RedisServer, namespace: str, name: str) -> bool:
    with server.client() as client:
        return bool(client.exists(lock_keys(namespace, name).lock))


def test_the_master_is_killed(sentinels: Sentinels, namespace: str) -> None:
    """The lease goes on at the promoted replica, which had it; tokens rise there."""
    tokens: dict[str, list[int]] = {"sync": [], "async": []}

    async def scene(api: Api, story: Story) -> None:
        s = api.session(sentinels.url, namespace=namespace, timeout=CALL)
        t = api.session(sentinels.url, namespace=namespace, timeout=CALL)
        lease = await s.lock(api.name, ttl=15).acquire()
        tokens[api.name].append(lease.token)

        async def wait() -> AsyncLease:
            return await t.lock(api.name, ttl=15).acquire(timeout=18)

        waiter = api.start(wait())
        await api.sleep(0.2)
        story.reach(api, "held")
        await story.after(api, "killed")
        async with s.lock(f"{api.name} later", ttl=15).acquire(timeout=18) as later:
            story.reach(api, "found")
            await story.after(api, "failover")
            assert has(sentinels.master, namespace, later.name)
        began = lease.deadline
        await lease.renew()
        assert lease.deadline > began
        assert not waiter.done()
        await lease.release()
        successor = await waiter
        tokens[api.name].append(successor.token)
        assert has(sentinels.master, namespace, api.name)
        await successor.release()

    with playing(scene) as story:
        story.wait("held")
        replicated(sentinels)
        sentinels.kill_master()
        story.go("killed")
        sentinels.wait_for_failover()
        story.wait("found")
        story.go("failover")
    for before, after in tokens.values():
        assert after > before


def test_the_master_is_frozen_replaced_and_thawed(
    sentinels: Sentinels, namespace: str
) -> None:
    """
    One session works on, at the new master; another has an idle connection to the old.

    Thawed, the old one is made a replica.  What is asked of it then is answered
    READONLY, which is not "no": the question goes to the new master.
    """

    async def scene(api: Api, story: Story) -> None:
        s = api.session(sentinels.url, namespace=namespace, timeout=CALL)
        idle = api.session(sentinels.url, namespace=namespace, timeout=CALL)
        first = await idle.lock(api.name, ttl=5).acquire()
        await first.release()
        await s.ping()
        story.reach(api, "ready")
        await story.after(api, "frozen")
        lease = await s.lock(api.name, ttl=15).acquire(timeout=18)
        assert lease.token > first.token
        story.reach(api, "moved on")
        await story.after(api, "demoted")
        assert await idle.lock(api.name, ttl=5).try_acquire() is None
        async with idle.lock(f"{api.name} later", ttl=5).acquire(timeout=8) as later:
            assert has(sentinels.master, namespace, later.name)
        await lease.release()
        async with idle.lock(api.name, ttl=5).acquire(timeout=8) as last:
            assert last.token > lease.token

    with playing(scene) as story:
        story.wait("ready")
        replicated(sentinels)
        old = sentinels.master
        sentinels.pause_master()
        story.go("frozen")
        new = sentinels.wait_for_failover()
        story.wait("moved on")
        sentinels.resume()
        with old.client() as client:
            client.replicaof(HOST, str(new.port))  # sooner than the Sentinels would
        until(lambda: old.info("replication")["role"] == "slave")
        story.go("demoted")
