"""A cluster whose slots move, and one of whose nodes does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from contract.flavours import Api
from coordkit import AsyncLease, AsyncSession, NotAllAdded, Unreachable
from coordkit._core.keys import lock_keys
from faults.conftest import CALL
from faults.ruler import Ruler
from support.servers import HOST, RedisCluster, RedisServer

pytestmark = pytest.mark.filterwarnings(
    # redis-py 7 warns of what its own cluster's client does
    "ignore:Call to '__init__' function with deprecated usage.*lib_name"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    # Two nodes serve their slots also while the third is away.
    with RedisCluster(config=["cluster-require-full-coverage no"]) as started:
        yield started


@pytest.fixture
def url(cluster: RedisCluster) -> str:
    nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
    return f"redis+cluster://{nodes}"


@pytest.fixture
def clustered(api: Api, url: str, namespace: str) -> AsyncSession:
    """Return the session under test."""
    return api.session(url, namespace=namespace, timeout=CALL)


@pytest.fixture
def clustered_peer(api: Api, url: str, namespace: str) -> AsyncSession:
    """Return another client of the same namespace."""
    return api.session(url, namespace=namespace, timeout=CALL)


class Slots:
    """Which node serves which slot, and moving one by hand."""

    def __init__(self, cluster: RedisCluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def of(self, name: str) -> int:
        """Return the slot of all keys of this name."""
        with self._cluster.nodes[0].client() as client:
            key = lock_keys(self._namespace, name).lock
            slot: Any = client.execute_command("CLUSTER", "KEYSLOT", key)
        return int(slot)

    def owner(self, slot: int) -> RedisServer:
        """Return the node that serves *slot*."""
        port = self._told(self._cluster.nodes[0], slot)
        return next(n for n in self._cluster.nodes if n.port == port)

    def _told(self, by: RedisServer, slot: int) -> int:
        """Return the port of whoever serves *slot*, as one node sees it."""
        with by.client() as client:
            ranges: Any = client.execute_command("CLUSTER", "SLOTS")
        for start, end, (_, port, *_), *_ in _lists(ranges):
            if start <= slot <= end:
                return int(port)
        raise AssertionError(f"nobody serves slot {slot}")

    def on(self, node: RedisServer, count: int) -> list[str]:
        """Return so many names that *node* serves, in different slots."""
        found: dict[int, str] = {}
        for number in range(10_000):
            name = f"on {node.port} {number}"
            slot = self.of(name)
            if slot not in found and self.owner(slot) is node:
                found[slot] = name
            if len(found) == count:
                break
        return list(found.values())

    async def move(self, api: Api, slot: int, to: RedisServer, pause: float) -> None:
        """Move *slot* as redis-cli would, with a *pause* before and after its keys go."""
        source = self.owner(slot)
        with source.client() as old, to.client() as new:
            ids = [_my_id(client) for client in (old, new)]
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            await api.sleep(pause)
            keys = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
            if keys:
                migrate = ("MIGRATE", HOST, to.port, "", 0, 1000, "KEYS", *keys)
                old.execute_command(*migrate)
            await api.sleep(pause)
            new.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
            old.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        await api.until(lambda: self._agreed(slot, to), timeout=10)

    def _agreed(self, slot: int, owner: RedisServer) -> bool:
        """Whether all see it at *owner*, by the same epoch: an older claim wins no more."""
        epochs: set[str] = set()
        for node in self._cluster.nodes:
            if self._told(node, slot) != owner.port:
                return False
            with node.client(decode_responses=True) as client:
                nodes: Any = client.execute_command("CLUSTER", "NODES")
            epochs.add(_epoch(nodes, owner.port))
        return len(epochs) == 1


def _epoch(nodes: Any, port: int) -> str:
    """Return the epoch of the node at *port* in what CLUSTER NODES says."""
    if isinstance(nodes, dict):  # redis-py reads it
        return next(str(n["epoch"]) for at, n in nodes.items() if f":{port}" in at)
    line = next(line for line in str(nodes).splitlines() if f":{port}@" in line)
    return line.split()[6]


def _my_id(client: Any) -> str:
    said = client.execute_command("CLUSTER", "MYID")
    return str(said.decode() if isinstance(said, bytes) else said)


def _lists(ranges: Any) -> list[Any]:
    """Return what CLUSTER SLOTS says, whether redis-py has made a dict of it or not."""
    if not isinstance(ranges, dict):
        return list(ranges)
    return [[*span, [None, at["primary"][1]]] for span, at in ranges.items()]


@pytest.fixture
def slots(cluster: RedisCluster, namespace: str) -> Slots:
    return Slots(cluster, namespace)


# -- slots that move -------------------------------------------------------------------


async def test_a_slot_moves_while_its_lock_is_held(
    api: Api,
    clustered: AsyncSession,
    clustered_peer: AsyncSession,
    cluster: RedisCluster,
    slots: Slots,
) -> None:
    """TRYAGAIN and ASK while it moves, MOVED afterwards: none of them is "no"."""
    lock = clustered.lock("it", ttl=3)
    lease = await lock.acquire()
    began, slot = lease.deadline, slots.of("it")
    to = next(n for n in cluster.nodes if n is not slots.owner(slot))

    async def wait() -> AsyncLease:
        return await clustered_peer.lock("it", ttl=3).acquire(timeout=10)

    waiter = api.start(wait())
    moving = api.start(slots.move(api, slot, to, pause=0.3))
    await api.sleep(0.2)
    # Its keys are still there, the tombstone of this request is not: TRYAGAIN.
    with suppress(Unreachable):
        assert await clustered_peer.lock("it", ttl=3).try_acquire() is None
    await moving
    assert slots.owner(slot) is to
    await api.until(lambda: lease.deadline > began + 1 or lease.lost.is_set())
    lease.check()
    assert not waiter.done()
    await lease.release()
    successor = await waiter
    assert successor.token > lease.token
    with to.client() as client:
        assert client.exists(lock._options.keys.lock)
    await successor.release()


async def test_a_slot_has_moved_since(
    api: Api, clustered: AsyncSession, cluster: RedisCluster, slots: Slots
) -> None:
    """MOVED: every question finds its way, first try."""
    lock, fence = clustered.lock("it", ttl=5), clustered.fence("it")
    tokens: list[int] = []
    for _ in range(3):
        slot = slots.of("it")
        to = next(n for n in cluster.nodes if n is not slots.owner(slot))
        await slots.move(api, slot, to, pause=0)
        lease = await lock.try_acquire()
        assert lease is not None
        tokens.append(lease.token)
        await fence.set("by", str(lease.token), token=lease.token)
        assert await fence.get("by") == str(lease.token).encode()
        await lease.release()
    assert tokens == sorted(set(tokens))


async def test_a_slot_moves_while_it_is_counted(
    api: Api,
    clustered: AsyncSession,
    clustered_peer: AsyncSession,
    cluster: RedisCluster,
    slots: Slots,
) -> None:
    """What was counted there is not counted again here: the memory of it moves, too."""
    counted, unknown, done = list[int](), list[int](), False

    async def count(session: AsyncSession) -> None:
        counter = session.counter("it")
        while not done:
            try:
                counted.append(await counter.add(1))
            except Unreachable:
                unknown.append(1)

    counting = [api.start(count(each)) for each in (clustered, clustered_peer)]
    await api.until(lambda: len(counted) > 10)
    for _ in range(3):
        slot = slots.of("it")
        to = next(n for n in cluster.nodes if n is not slots.owner(slot))
        await slots.move(api, slot, to, pause=0.1)
    before = len(counted)
    await api.until(lambda: len(counted) > before + 10)
    done = True
    for each in counting:
        await each
    assert len(set(counted)) == len(counted)
    value = await clustered.counter("it").value()
    assert len(counted) <= value <= len(counted) + len(unknown)
    assert len(unknown) < len(counted) / 4


# -- a node that does not answer -------------------------------------------------------


async def test_a_node_is_frozen(
    api: Api, clustered: AsyncSession, cluster: RedisCluster, slots: Slots
) -> None:
    """Leases elsewhere do not suffer; its own are unknown, and go on when it does."""
    *others, frozen = cluster.nodes
    (unlucky, also_there) = slots.on(frozen, 2)
    lease = await clustered.lock(unlucky, ttl=12).acquire()
    kept = [
        await clustered.lock(name, ttl=2).acquire()
        for node in others
        for name in slots.on(node, 3)
    ]
    # Due together with the others, and not answered.
    there = await clustered.lock(also_there, ttl=2).acquire()
    frozen.pause()
    try:
        until = time.monotonic() + 2.4
        with Ruler() as ruler:
            with pytest.raises(Unreachable):
                await clustered.lock(unlucky).try_acquire()
            # each of its two questions, and the undo, looks for the nodes again
            ruler.within(3 * 3 * CALL + 0.3)
        with Ruler() as ruler:
            name = slots.on(others[0], 4)[-1]  # not one of those that are held
            async with clustered.lock(name, ttl=3).acquire(timeout=2):
                pass
            ruler.within(1.0)
        while time.monotonic() < until:
            await api.sleep(0.05)
        lost = [x.name for x in kept if not x.held]
    finally:
        frozen.resume()
    assert not lost, "leases of nodes that answer"
    assert there.lost.is_set()
    assert lease.held
    await api.until(lambda: lease.remaining() > 9 or lease.lost.is_set(), timeout=12)
    lease.check()
    for each in (*kept, lease):
        await each.release()
    await gone(api, clustered, unlucky)


async def test_of_several_counters_those_of_a_frozen_node_are_named(
    api: Api, clustered: AsyncSession, cluster: RedisCluster, slots: Slots
) -> None:
    """They may be added to later, once; the others are added to, and that is told."""
    *others, frozen = cluster.nodes
    unlucky, lucky = slots.on(frozen, 3), slots.on(others[0], 3)
    assert await clustered.add_all(dict.fromkeys([*unlucky, *lucky], 1))
    frozen.pause()
    try:
        with pytest.raises(NotAllAdded) as told:
            await clustered.add_all(dict.fromkeys([*unlucky, *lucky], 10))
    finally:
        frozen.resume()
    assert told.value.added == dict.fromkeys(lucky, 11)
    assert set(told.value.failed) == set(unlucky)
    assert {type(error) for error in told.value.failed.values()} == {Unreachable}

    async def settled() -> bool:
        try:
            values = {await clustered.counter(name).value() for name in unlucky}
        except Unreachable:
            return False
        return values <= {1, 11}

    await api.until(settled)


async def gone(api: Api, session: AsyncSession, name: str) -> None:
    """Check that nothing of the requests that were given up is left."""

    async def free() -> bool:
        try:
            return await session.lock(name).info() is None
        except Unreachable:
            return False

    await api.until(free)
