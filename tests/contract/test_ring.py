"""A ring, whatever the flavour and the server: changes, lookups, what is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place
from contract.ringplay import KEYS, NODES, a_ring, asked_of, keys_of, known, stored
from coordkit import (
    AsyncRing,
    AsyncSession,
    EmptyRing,
    KeyConflict,
    Node,
    NoNode,
    RingInfo,
)
from coordkit._core.ring_slot import slot_of


@everywhere
async def test_every_client_sees_the_same_ring(
    s: AsyncSession, s2: AsyncSession
) -> None:
    mine = s.ring("shards")
    change = await mine.add(
        "cache-1", weight=2.0, zone="a", capacity=9, meta={"k": "é"}
    )
    assert (change.version, change.added, change.moved) == (1, ("cache-1",), 0)
    assert change.by == s.identity
    await mine.add({"cache-2": 1.0, "cache-3": 2.0})
    mine, theirs = await known(mine), await known(s2.ring("shards"))
    assert mine.version == theirs.version == 2
    assert theirs.nodes() == (
        Node("cache-1", 2.0, "a", 9, {"k": "é"}),
        Node("cache-2", 1.0),
        Node("cache-3", 2.0),
    )
    assert mine.owner_many(KEYS) == theirs.owner_many(KEYS)
    assert theirs.stats().max_over_mean <= 1 + 3 / 16_384
    assert await mine.verify() == []


@everywhere
async def test_any_client_finds_an_owner_by_one_command(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    for key in KEYS[:50]:
        assert asked_of(place, s, key) == ring.owner(key)


async def test_lookups_agree_with_each_other(s: AsyncSession) -> None:
    ring = await a_ring(s, replicas=2)
    mixed: list[Any] = [key.encode() if n % 3 else key for n, key in enumerate(KEYS)]
    owners = [ring.owner(key) for key in KEYS]
    for many in (KEYS, tuple(KEYS), mixed, (key for key in mixed)):
        assert ring.owner_many(many) == owners
    assert ring.owner_many([]) == []
    for key, owner in zip(KEYS[:50], owners, strict=False):
        assert ring.owner(key.encode()) == owner
        assert ring.owners(key, n=1) == (owner,)
        assert ring.owners(key) == ring.owners(key, n=2)
        assert len(set(ring.owners(key, n=3))) == 3
        where = ring.locate(key)
        assert where[:5] == (slot_of(key, 1024), owner, 2, 2, None)
        assert any(first <= where.slot <= last for first, last in ring.ranges(owner))
    slots = dict.fromkeys(NODES, 0)
    for node in NODES:
        slots[node] = sum(last + 1 - first for first, last in ring.ranges(node))
    assert slots == {"cache-1": 256, "cache-2": 512, "cache-3": 256}


@pytest.mark.parametrize("key", [7, None, bytearray(b"x"), ("a",)])
async def test_keys_of_other_types_are_refused(s: AsyncSession, key: Any) -> None:
    ring = await a_ring(s)
    for ask in (
        lambda: ring.owner(key),
        lambda: ring.owners(key, n=2),
        lambda: ring.locate(key),
        lambda: ring.owner_many(["a", key]),
    ):
        with pytest.raises(TypeError, match=f"not {type(key).__name__}"):
            ask()
    with pytest.raises(TypeError, match="keys are several, not one str: 'user:42'"):
        ring.owner_many("user:42")


async def test_what_no_lookup_takes(s: AsyncSession) -> None:
    ring = await a_ring(s)
    wrong: list[tuple[Any, type[Exception]]] = [
        (0, ValueError),
        (65, ValueError),
        (True, TypeError),
        ("2", TypeError),
    ]
    for n, error in wrong:
        with pytest.raises(error, match="n"):
            ring.owners("a", n=n)
    with pytest.raises(NoNode, match="has no node 'cache-9'"):
        ring.ranges("cache-9")
    with pytest.raises(UnicodeEncodeError):
        ring.owner("\ud800")


@on_redis_and_fake
async def test_names_of_every_kind(s: AsyncSession, s2: AsyncSession) -> None:
    for name in ("a:b", "{}", "}{", "*?[", "日本 💥", "-x", "x" * 512):
        ring = s.ring(name)
        nodes = {f"{name[:60]}:{n}": 1.0 for n in range(3)}
        await ring.add(nodes)
        ring = await known(s2.ring(name))
        assert [node.name for node in ring.nodes()] == sorted(nodes)
        assert set(ring.owner_many(KEYS)) == set(nodes)
        assert await ring.verify() == []
    for wrong in ("", "a\nb", "x" * 513):
        with pytest.raises(ValueError, match="name"):
            s.ring(wrong)


# -- changes --------------------------------------------------------------------------------


@everywhere
async def test_a_change_moves_what_it_must_and_nothing_else(s: AsyncSession) -> None:
    ring = await a_ring(s)
    before = ring.owner_many(KEYS)
    change = await ring.add("cache-4")
    assert change.moved == 204  # of 204.8: who has more already is rounded up
    after = ring.owner_many(KEYS)
    assert {b for a, b in zip(before, after, strict=True) if a != b} == {"cache-4"}
    await ring.remove("cache-4")
    assert ring.owner_many(KEYS).count("cache-4") == 0
    await ring.reweight({"cache-1": 2.0, "cache-3": 2.0})
    assert {share.slots for share in ring.stats().nodes} == {341, 342}
    assert ring.version == 5
    assert await ring.verify() == []


async def test_own_changes_are_seen_at_once(s: AsyncSession) -> None:
    ring = await a_ring(s)
    await ring.remove("cache-1", "cache-2")
    assert set(ring.owner_many(KEYS)) == {"cache-3"}
    await ring.reweight("cache-3", 7)
    assert ring.nodes() == (Node("cache-3", 7.0),)
    await ring.remove("cache-3")
    assert ring.nodes() == ()
    with pytest.raises(EmptyRing, match="'shards' has no nodes"):
        ring.owner("a")
    await ring.add("cache-9")
    assert ring.owner("a") == "cache-9"
    assert await ring.verify() == []


async def test_what_the_ring_forbids_leaves_it_untouched(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    before = stored(place, s)
    with pytest.raises(NoNode, match="'shards' has no node 'cache-9'"):
        await ring.remove("cache-9")
    with pytest.raises(NoNode):
        await ring.remove("cache-1", "cache-9")
    with pytest.raises(NoNode):
        await ring.reweight("cache-9", 2)
    with pytest.raises(KeyConflict, match="has a node 'cache-1' already"):
        await ring.add({"cache-8": 1.0, "cache-1": 1.0})
    with pytest.raises(KeyConflict, match="there is a ring 'shards' already"):
        await ring.create()
    with pytest.raises(ValueError, match="1024 slots cannot have 1025 nodes"):
        await ring.add({f"n{n}": 1.0 for n in range(1022)})
    assert stored(place, s) == before


@on_redis
async def test_what_is_wrong_is_refused_before_anything_is_asked(
    place: Place, s: AsyncSession
) -> None:
    ring = s.ring("shards")
    await ring.add(NODES)  # nobody follows it, and asks meanwhile
    asked = place.asked()
    for weight in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight"):
            await ring.add("a", weight=weight)
        with pytest.raises(ValueError, match="weight"):
            await ring.reweight("cache-1", weight)
        with pytest.raises(ValueError, match="weight"):
            await ring.plan(add={"a": weight})
    with pytest.raises(ValueError, match="power of two"):
        await s.ring("other").create(slots=1000)
    with pytest.raises(ValueError, match="named twice"):
        await ring.remove("a", "a")
    with pytest.raises(TypeError):
        await ring.assign(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"max_staleness=0\.5 is not between 1 and"):
        s.ring("shards", max_staleness=0.5)
    assert place.asked() == asked


@everywhere
async def test_two_writers_at_once_lose_nothing(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    await s.ring("shards").create(slots=1024)

    async def add(session: AsyncSession, node: str) -> None:
        await session.ring("shards").add(node)

    nodes = [f"n{n}" for n in range(16)]
    await api.all(*(add((s, s2)[n % 2], node) for n, node in enumerate(nodes)))
    ring = await known(s.ring("shards"))
    assert sorted(nodes) == [node.name for node in ring.nodes()]
    assert ring.version == 17, "a version each"
    assert {share.slots for share in ring.stats().nodes} == {64}
    assert await ring.verify() == []
    changes = (await ring.diff(1)).changes
    assert sorted(node for change in changes for node in change.added) == sorted(nodes)
    assert {change.by for change in changes} == {s.identity, s2.identity}


# -- shapes, and what is stored -----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["balanced", "hashed"])
async def test_a_ring_keeps_its_shape(
    s: AsyncSession, s2: AsyncSession, mode: str
) -> None:
    await s.ring("shards").create(slots=2048, mode=mode, replicas=3)
    await s2.ring("shards").add(NODES)
    ring = await known(s2.ring("shards"))
    assert (ring.stats().slots, ring.stats().replicas) == (2048, 3)
    assert await ring.info() == RingInfo("shards", 2, 2048, mode, 3, 3)
    assert await ring.verify() == []


async def test_a_hashed_ring_can_be_derived_from_its_names(
    s: AsyncSession, s2: AsyncSession
) -> None:
    a, b = s.ring("a"), s2.ring("b")
    for ring in (a, b):
        await ring.create(mode="hashed", slots=1024)
    await a.add(NODES)
    for node in reversed(NODES):
        await b.add("to be removed")
        await b.add(node, weight=NODES[node])
        await b.remove("to be removed")
    assert (await known(a)).owner_many(KEYS) == (await known(b)).owner_many(KEYS)


@everywhere
async def test_rings_are_listed_without_scan(
    s: AsyncSession, elsewhere: AsyncSession
) -> None:
    assert await s.rings() == []
    await a_ring(elsewhere)
    for name in ("b", "a"):
        await a_ring(s, name)
    info = RingInfo("a", 2, 1024, "balanced", 1, 3)
    assert await s.rings() == [info, info.__class__("b", 2, 1024, "balanced", 1, 3)]
    async with s.lock("a").acquire():
        assert len(await s.rings()) == 2
    assert await s.locks() == [], "a lock that has ended takes no ring with it"
    assert len(await s.rings()) == 2


@everywhere
async def test_a_deleted_ring_leaves_nothing(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s)
    await ring.assign("job")
    assert await s2.ring("shards").delete()
    assert not await ring.delete()
    left = {key for key in place.raw.keys(f"*:{s.namespace}:*") if ":tomb:" not in key}
    assert left <= {keys_of(s).live.fence}, "what is made anew counts on; it expires"
    assert await s.rings() == []
    assert await ring.info() is None
    for ask in (
        ring.refresh(),
        ring.verify(),
        ring.export(),
        ring.diff(0),
        ring.plan(),
    ):
        with pytest.raises(EmptyRing, match="there is no ring 'shards'"):
            await ask
    with pytest.raises(EmptyRing):
        await ring.remove("cache-1")
    with pytest.raises(EmptyRing):
        await ring.assign("job")


@on_redis_and_fake
async def test_nothing_of_a_ring_expires(place: Place, s: AsyncSession) -> None:
    ring = s.ring("shards")
    await ring.add(
        {f"n{n}": 1.0 for n in range(50)}
    )  # so many points are laid ready first
    await ring.assign("job")
    for key in place.raw.keys(f"*:{s.namespace}:*"):
        assert place.raw.ttl(key) == -1, key


# -- documents ----------------------------------------------------------------------------------


@everywhere
async def test_an_exported_ring_is_imported_slot_by_slot(
    s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s, replicas=2)
    await ring.add([Node("cache-4", 3.0, "z", 7, {"a": [1]})])
    document = json.loads(json.dumps(await ring.export()))
    copy = s2.ring("copy")
    change = await copy.import_(document)
    assert (change.version, len(change.added)) == (1, 4)
    copy = await known(copy)
    assert copy.owner_many(KEYS) == ring.owner_many(KEYS)
    assert copy.nodes() == ring.nodes()
    assert await copy.verify() == []
    with pytest.raises(KeyConflict, match="there is a ring 'copy' already"):
        await copy.import_(document)
    await copy.remove("cache-1")
    await copy.import_(document, over=True)
    assert copy.owner_many(KEYS) == ring.owner_many(KEYS)
    assert copy.version == 3
    with pytest.raises(ValueError, match="holds no ring"):
        await copy.import_({"kind": "nothing"}, over=True)


@on_redis
async def test_a_comparison_with_ketama(s: AsyncSession) -> None:
    ring = await a_ring(s)
    found = ring.from_ketama(NODES, KEYS)
    assert found.keys == len(KEYS)
    assert 0.4 < found.moved < 0.9
    assert found.after == {"cache-1": 0.25, "cache-2": 0.5, "cache-3": 0.25}
    assert found.max_over_mean_after == 1.0 < found.max_over_mean_before


@on_redis
async def test_what_a_ring_and_a_plan_show(s: AsyncSession) -> None:
    ring: AsyncRing = await a_ring(s)
    assert repr(ring).endswith("Ring 'shards'>")
    assert ring.name == "shards"
    plan = await ring.plan(add={"cache-4": 1.0})
    assert repr(plan).endswith("Plan 'shards' of version 2: moves 19.92%>")
