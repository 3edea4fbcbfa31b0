"""Bounded load: keys assigned to nodes, shared by all clients."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis_and_fake
from contract.places import Place
from contract.ringplay import a_ring, keys_of
from coordkit import AsyncSession, EmptyRing, KeyConflict, Node, Overloaded
from support.servers import RedisServer


@everywhere
async def test_a_key_stays_where_it_is_for_every_client(
    s: AsyncSession, s2: AsyncSession
) -> None:
    ring, other = await a_ring(s), s2.ring("shards")
    node = await ring.assign("job:9")
    assert node == ring.owner("job:9"), "its owner has room"
    assert await other.assign(b"job:9") == node
    assert await other.loads() == {node: 1}
    await ring.add({f"more {n}": 1.0 for n in range(30)})
    assert await other.assign("job:9") == node, "whoever owns its slot now"
    assert await other.release("job:9") == node
    assert await ring.release("job:9") is None
    assert await ring.loads() == {}
    assert await ring.assign("job:9") == ring.owner("job:9")


@everywhere
@pytest.mark.parametrize("c", [1.0, 1.25])
async def test_no_node_has_more_than_c_times_its_share(
    s: AsyncSession, s2: AsyncSession, c: float
) -> None:
    ring, other = await a_ring(s), s2.ring("shards")
    weights = {"cache-1": 0.25, "cache-2": 0.5, "cache-3": 0.25}
    has: Counter[str] = Counter()
    for number in range(80):
        has[await (ring, other)[number % 2].assign(f"job:{number}", c=c)] += 1
        for node, weight in weights.items():
            assert has[node] <= math.ceil(c * weight * (number + 1) + 1e-9)
    assert await ring.loads() == dict(has)
    if c == 1.0:
        assert has == {"cache-1": 20, "cache-2": 40, "cache-3": 20}


@on_redis_and_fake
async def test_many_at_once(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    ring = await a_ring(s)

    async def assign(number: int) -> str:
        return await (s, s2)[number % 2].ring("shards").assign(f"job:{number}", c=1.0)

    nodes = await api.all(*(assign(number) for number in range(40)))
    assert Counter(nodes) == {"cache-1": 10, "cache-2": 20, "cache-3": 10}
    assert await ring.loads() == dict(Counter(nodes))


@on_redis_and_fake
async def test_past_a_full_node_the_next_one_takes_it(s: AsyncSession) -> None:
    """That comes after it on the ring: as in a preference list."""
    ring = await a_ring(s)
    for number in range(200):
        key = f"job:{number}"
        node = await ring.assign(key, c=1.05)
        loads = await ring.loads()
        order = ring.owners(key, n=3)
        total = sum(loads.values())
        shares = {"cache-1": 0.25, "cache-2": 0.5, "cache-3": 0.25}
        for passed in order[: order.index(node)]:
            assert loads[passed] >= math.floor(1.05 * shares[passed] * total)


@everywhere
async def test_more_than_all_can_take_is_refused(s: AsyncSession) -> None:
    ring = s.ring("shards")
    await ring.create(slots=1024)
    await ring.add([Node("a", 1.0, "", 4), Node("b", 1.0, "", 4)])
    for number in range(6):
        await ring.assign(f"job:{number}", c=1.25)
    with pytest.raises(Overloaded) as full:
        await ring.assign("one too many", c=1.25)
    assert (full.value.name, full.value.load, full.value.most) == ("shards", 6, 6)
    assert await ring.assign("job:0", c=1.25), "but who has a node keeps it"
    assert sum((await ring.loads()).values()) == 6
    await ring.release("job:0")
    assert await ring.assign("one too many", c=1.25)
    await ring.add("c")  # which nobody knows the capacity of
    for number in range(20):
        assert await ring.assign(f"more:{number}", c=1.25)


@on_redis_and_fake
async def test_no_node_has_more_than_its_capacity(s: AsyncSession) -> None:
    ring = s.ring("shards")
    await ring.create(slots=1024)
    await ring.add([Node("a", 5.0, "", 2), Node("b", 1.0, "", 8)])
    for number in range(10):
        await ring.assign(f"job:{number}", c=1.0)
    assert await ring.loads() == {"a": 2, "b": 8}
    with pytest.raises(Overloaded):
        await ring.assign("one too many", c=1.0)


@on_redis_and_fake
async def test_a_node_that_is_gone_leaves_its_keys_to_others(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    nodes = {f"job:{n}": await ring.assign(f"job:{n}") for n in range(40)}
    await ring.remove("cache-2")
    for key, before in nodes.items():
        after = await ring.assign(key)
        assert after == before if before != "cache-2" else after != "cache-2"
    loads = await ring.loads()
    assert sum(loads.values()) == 40
    assert set(loads) == {"cache-1", "cache-3"}
    assert place.raw.hlen(keys_of(s).assigned) == 40


@on_redis_and_fake
async def test_a_node_that_comes_back_has_what_it_had(s: AsyncSession) -> None:
    ring = await a_ring(s)
    nodes = {f"job:{n}": await ring.assign(f"job:{n}") for n in range(20)}
    loads = await ring.loads()
    await ring.remove("cache-2")
    await ring.add("cache-2", weight=2.0)
    assert {key: await ring.assign(key) for key in nodes} == nodes
    assert await ring.loads() == loads
    for key in nodes:
        await ring.release(key)
    assert await ring.loads() == {}


@on_redis_and_fake
async def test_who_is_leaving_gets_nothing(s: AsyncSession) -> None:
    ring = await a_ring(s)
    plan = await ring.plan(remove=["cache-2"])
    await _first_step(s, plan)
    assert {await ring.assign(f"job:{n}") for n in range(40)} == {"cache-1", "cache-3"}


async def _first_step(s: AsyncSession, plan: object) -> None:
    from contract.test_ring_plan import _commit

    await _commit(s, plan, next(plan._made.steps(10)))  # type: ignore[attr-defined]


@everywhere
async def test_a_ring_without_nodes_has_room_for_nothing(s: AsyncSession) -> None:
    with pytest.raises(EmptyRing):
        await s.ring("shards").assign("job")
    await s.ring("shards").create()
    with pytest.raises(EmptyRing, match="'shards' has no nodes"):
        await s.ring("shards").assign("job")
    assert await s.ring("shards").release("job") is None
    assert await s.ring("shards").loads() == {}


@on_redis_and_fake
async def test_keys_of_every_kind(s: AsyncSession) -> None:
    ring = await a_ring(s)
    keys: list[str | bytes] = ["", "é 💥", b"\x00\xff\n", "x" * 10_000, "cache-1"]
    for key in keys:
        node = await ring.assign(key)
        assert await ring.assign(key) == node
    for key in keys:
        assert await ring.release(key) is not None
    assert await ring.loads() == {}


@on_redis_and_fake
@pytest.mark.parametrize("field", ["assigned", "loads"])
async def test_a_key_of_another_kind_is_left_alone(
    place: Place, s: AsyncSession, field: str
) -> None:
    ring = await a_ring(s)
    key = getattr(keys_of(s), field)
    place.raw.rpush(key, "of somebody else")
    with pytest.raises(KeyConflict):
        await ring.assign("job")
    assert place.raw.lrange(key, 0, -1) == ["of somebody else"]


async def test_a_release_whose_answer_was_lost_takes_nothing_from_others(
    api: Api, namespace: str
) -> None:
    """The server froze after it: asked again it says the same, whoever has the key now."""
    from contract.flavours import run
    from coordkit._core.ring_load import release
    from coordkit._core.ring_read import ring_id

    with RedisServer() as server:
        session = api.session(server.url, namespace=namespace)
        ring = await a_ring(session)
        node = await ring.assign("job")
        id_ = ring_id(namespace, "shards", 2.0)
        assert await run(session, release(id_, "job", "r" * 32)) == node
        assert await ring.assign("job") == node
        assert await run(session, release(id_, "job", "r" * 32)) == node
        assert await ring.loads() == {node: 1}
