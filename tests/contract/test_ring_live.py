"""Live nodes: who owns what, as they come and go, with no key owned by two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contract.flavours import Api
from contract.forks import in_child
from contract.marks import (
    everywhere,
    on_redis,
    on_redis_and_fake,
    only_async,
    only_sync,
    uvloop_too,
)
from contract.places import Place, unkeep
from contract.ringplay import KEYS, keys_of
from coordkit import (
    Assigned,
    AsyncLiveNode,
    AsyncRing,
    AsyncSession,
    KeyConflict,
    NotHeld,
    Reason,
    Revoked,
    StaleToken,
    State,
    Unreachable,
)
from coordkit._core.ops import Op
from coordkit._core.ring_tend import Tender
from support.servers import RedisServer

NOWHERE = "redis://127.0.0.1:1"
TTL = 1.0


async def a_small(s: AsyncSession) -> AsyncRing:
    """A ring without nodes, of few slots."""
    ring = s.ring("shards")
    await ring.create(slots=1024)
    return ring


async def join(s: AsyncSession, node: str, **options: Any) -> AsyncLiveNode:
    given: dict[str, Any] = {"ttl": TTL, "grace": 30, **options}
    return await s.ring("shards").join(node, **given)


def has(*nodes: AsyncLiveNode) -> list[int]:
    """How many slots each believes to own; none is owned twice."""
    owned = [{*range(r.first, r.last + 1)} for n in nodes for r in n.ranges()]
    assert len(set().union(*owned)) == sum(map(len, owned)), "a slot has two owners"
    return [sum(r.last + 1 - r.first for r in node.ranges()) for node in nodes]


def have(*nodes: AsyncLiveNode) -> Callable[[], bool]:
    """Whether these have all slots, evenly."""

    def even() -> bool:
        owned = has(*nodes)
        return sum(owned) == 1024 and max(owned) - min(owned) <= 1

    return even


def die(node: AsyncLiveNode) -> None:
    """Have it be heard of no more, as if its process were killed."""
    unkeep(node)


# -- it comes and goes --------------------------------------------------------------------


@everywhere
@uvloop_too
async def test_nodes_share_the_keys_and_none_has_two_owners(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_small(s)
    async with s.ring("shards").join("a", ttl=TTL, zone="z", weight=2.0) as a:
        assert (a.name, a.identity, a.state) == ("shards", "a", State.HELD)
        assert has(a) == [1024]
        b = await join(s2, "b", weight=2.0)
        await api.until(have(a, b))
        ours, theirs = ([key for key in KEYS if n.owns(key)] for n in (a, b))
        assert len(ours) + len(theirs) == len(KEYS)
        await api.until(lambda: all(ring.locate(key).next is None for key in KEYS))
        for key in KEYS:
            assert ring.locate(key).node == (a if a.owns(key) else b).identity
        (known, _) = ring.nodes()
        assert (known.name, known.zone, known.weight) == ("a", "z", 2.0)
        assert known.holder == a.token
        assert [each.identity for each in await ring.live()] == ["a", "b"]
        assert await ring.verify() == []
        await b.leave()
        assert has(b) == [0]
        assert b.token_of("user:1") is None
        await api.until(have(a))
    assert not a.owns("user:1")
    assert (await ring.info()).nodes == 0  # type: ignore[union-attr]  # there is one
    with pytest.raises(NotHeld):
        await a.leave()


@everywhere
async def test_who_comes_gets_what_was_let_go_and_is_told(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_small(s)
    a = await join(s, "a")
    changes = a.changes()
    first = await anext(changes)
    assert isinstance(first, Assigned)
    assert [tuple(r) for r in first.ranges] == [(0, 1023)]
    b = await join(s2, "b")
    revoked = await anext(changes)
    assert isinstance(revoked, Revoked)
    assert not revoked.lost
    slots = {s for r in revoked.ranges for s in range(r.first, r.last + 1)}
    assert len(slots) == 512
    assert has(a, b) == [512, 0], "what was begun may end"
    key = next(key for key in KEYS if ring.locate(key).slot in slots)
    where = ring.locate(key)
    assert (where.node, where.next) == ("a", "b")
    again = api.start(_next(changes))
    await api.until(have(a, b))
    assert b.owns(key)
    assert (b.token_of(key) or 0) > where.token
    await b.leave()
    returned = await again
    assert isinstance(returned, Assigned)
    await a.leave()
    last = await anext(changes)
    assert isinstance(last, Revoked)
    assert not last.lost
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def _next(changes: Any) -> Any:
    return await anext(changes)


@pytest.mark.slow
@everywhere
async def test_others_have_the_keys_of_a_dead_node_and_it_gets_them_back(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    await a_small(s)
    a, b = await join(s, "a"), await join(s2, "b")
    await api.until(have(a, b))
    before, epochs = b.ranges(), {key: b.token_of(key) for key in KEYS if b.owns(key)}
    die(b)
    await api.until(lambda: not b.held)
    died = time.monotonic()
    await api.until(have(a))
    assert time.monotonic() - died < TTL + 1
    (_, away) = s.ring("shards").nodes()
    assert (away.name, away.state, away.grace) == ("b", "away", 30.0)
    b2 = await join(s2, "b")
    await api.until(have(a, b2))
    assert b2.ranges() == before, "exactly its own"
    assert has(b) == [0]
    for key, token in epochs.items():
        assert (b2.token_of(key) or 0) > (token or 0)
    await b2.leave()
    await a.leave()


@on_redis_and_fake
async def test_what_was_handed_over_can_be_written_by_the_new_owner_only(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    await a_small(s)
    a = await join(s, "a")
    tokens = {key: a.token_of(key) for key in KEYS}
    b = await join(s2, "b")
    await api.until(have(a, b))
    key = next(key for key in KEYS if b.owns(key))
    fence, old, new = s.fence(key), tokens[key], b.token_of(key)
    assert old
    assert new
    await fence.set("x", "a", token=old)
    await fence.set("x", "b", token=new)
    with pytest.raises(StaleToken):
        await fence.set("x", "a", token=old)
    kept = next(key for key in KEYS if a.owns(key))
    assert a.token_of(kept) == tokens[kept]
    ring = s.ring("shards")
    await api.until(lambda: ring.locate(key).token == new)
    await api.all(a.leave(), b.leave())


# -- it is lost, and comes back ---------------------------------------------------------------


@on_redis
async def test_a_node_that_was_lost_is_back_by_itself_with_higher_tokens(
    api: Api, place: Place, s: AsyncSession
) -> None:
    await a_small(s)
    a = await join(s, "a")
    token, of_key = a.token, a.token_of("user:1")
    place.raw.zrem(keys_of(s).live.alive, a.holder)  # swept: it was silent for too long
    await api.until(lambda: a.token > token and a.owns("user:1"))
    assert (a.token_of("user:1") or 0) > (of_key or 0)
    assert await s.ring("shards").verify() == []
    await a.leave()


@on_redis_and_fake
async def test_after_a_loss_of_data_all_are_back_with_higher_tokens(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    await a_small(s)
    a, b = await join(s, "a"), await join(s2, "b")
    await api.until(have(a, b))
    before = max(n.token_of(key) or 0 for n in (a, b) for key in KEYS)
    place.lose_data()

    def back() -> bool:
        owned = sum(r.last + 1 - r.first for n in (a, b) for r in n.ranges())
        tokens = [n.token_of(key) or 0 for n in (a, b) for key in KEYS]
        return owned == 16_384 and all(t > before for t in tokens if t)

    await api.until(back)
    await api.all(a.leave(), b.leave())


@pytest.mark.slow
@on_redis_and_fake
async def test_who_was_killed_is_waited_for_and_who_lives_is_in_the_way(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    await a_small(s)
    a = await join(s, "a")
    with pytest.raises(KeyConflict, match="another process is 'a' of 'shards'"):
        await join(s2, "a", ttl=0.3)
    die(a)
    again = await join(s2, "a")
    assert not a.held
    assert has(a, again) == [0, 1024]
    assert a.reason in {Reason.EXPIRED, Reason.STOLEN}
    await again.leave()


@pytest.mark.slow
@on_redis_and_fake
async def test_without_grace_a_dead_node_is_none_at_once(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_small(s)
    a, b = await join(s, "a"), await join(s2, "b", grace=0)
    await api.until(have(a, b))
    die(b)
    await api.until(have(a))
    assert [node.name for node in ring.nodes()] == ["a"]
    await a.leave()


@on_redis_and_fake
async def test_a_session_that_is_closed_hands_over_at_once(
    api: Api, s: AsyncSession, place: Place
) -> None:
    await a_small(s)
    a = await join(s, "a", ttl=30)
    other = api.session(place.where(api), namespace=s.namespace)
    b = await join(other, "b", ttl=30)
    await api.until(have(a, b))
    await other.close()
    await api.until(have(a))
    ring = s.ring("shards")
    await api.until(lambda: [node.name for node in ring.nodes()] == ["a"])
    await a.leave()


@pytest.mark.slow
async def test_a_server_that_froze_costs_nobody_its_place(api: Api) -> None:
    with RedisServer() as server:
        sessions = [api.session(server.url) for _ in range(4)]
        await a_small(sessions[0])
        nodes = await api.all(*(join(s, f"n{i}") for i, s in enumerate(sessions)))
        await api.until(have(*nodes))
        before, version = (
            [n.ranges() for n in nodes],
            sessions[0].ring("shards").version,
        )
        server.pause()
        await api.sleep(1.2 * TTL)
        assert has(*nodes) == [0, 0, 0, 0]
        server.resume()
        await api.until(have(*nodes))
        assert [n.ranges() for n in nodes] == before
        changed = await sessions[0].ring("shards").diff(version)
        assert changed.moves == ()
        assert changed.changes, "each has it anew, by higher tokens"
        await api.all(*(node.leave() for node in nodes))


# -- operators --------------------------------------------------------------------------------


@on_redis_and_fake
async def test_an_operator_weighs_and_drains_nodes_that_live(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_small(s)
    a, b = await join(s, "a"), await join(s2, "b")
    await api.until(have(a, b))
    plan = await ring.plan(reweight={"a": 3.0})
    assert plan.moved == 0.25
    assert [share.slots for share in plan.after.nodes] == [768, 256]
    await plan.apply()
    await api.until(lambda: has(a, b) == [768, 256])
    with pytest.raises(KeyConflict, match="2 nodes of the ring 'shards' live"):
        await ring.delete()
    with pytest.raises(KeyConflict, match="nodes that live, or are away: a, b"):
        await ring.import_(await ring.export(), over=True)
    await ring.remove("a")
    await api.until(lambda: has(a, b) == [0, 1024])
    assert a.held
    assert [node.state for node in ring.nodes()] == ["leaving", "active"]
    await a.leave()
    await api.until(lambda: [node.name for node in ring.nodes()] == ["b"])
    await b.leave()
    assert await ring.delete()


@on_redis_and_fake
async def test_who_joins_as_a_node_that_is_there_has_what_is_its(
    api: Api, s: AsyncSession
) -> None:
    ring = await a_small(s)
    await ring.add({"a": 1.0, "static": 3.0})
    a = await join(s, "a", weight=7.0)
    assert has(a) == [256]
    assert a.ranges() == ring.ranges("a")
    await a.leave()
    assert [node.name for node in ring.nodes()] == ["static"]
    await api.until(lambda: len(ring.ranges("static")) == 1)


@on_redis
async def test_who_left_leaves_nothing_that_does_not_expire(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_small(s)
    a = await join(s, "a")
    await a.leave()
    assert await ring.delete()
    for key in place.raw.keys(f"*:{s.namespace}:*"):
        assert place.raw.pttl(key) > 0, key


# -- whose it is ------------------------------------------------------------------------------


@only_sync
@on_redis
async def test_a_child_process_owns_nothing_and_costs_its_parent_nothing(
    s: AsyncSession,
) -> None:
    await a_small(s)
    a = await join(s, "a")

    def child() -> None:
        assert not a.owns("user:1")
        assert a.token_of("user:1") is None
        assert a.ranges() == []
        assert a.reason is Reason.FORKED

    assert in_child(child) == 0
    assert has(a) == [1024]
    await a.leave()


@on_redis_and_fake
@pytest.mark.parametrize("problem", [Unreachable("gone"), KeyboardInterrupt()])
async def test_who_is_interrupted_on_its_way_in_leaves_nothing_behind(
    s: AsyncSession, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    ring = await a_small(s)

    def stopped(_: Any) -> Op[None]:
        raise problem
        yield  # a generator that asks nothing

    with monkeypatch.context() as patched:
        patched.setattr(Tender, "enter", stopped)
        with pytest.raises(type(problem)):
            await join(s, "a")
    assert len(await ring.live()) == 0
    a = await join(s, "a")
    assert has(a) == [1024]
    await a.leave()


@only_async
@on_redis
async def test_a_join_that_is_cancelled_leaves_nothing_behind(
    api: Api, s: AsyncSession
) -> None:
    ring = await a_small(s)
    first = await join(s, "a")
    waits = asyncio.ensure_future(join(s, "a", ttl=20))
    await api.sleep(0.1)  # it waits for the place
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert [each.token for each in await ring.live()] == [first.token]
    await first.leave()


# -- what may be given --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"ttl": 0}, ValueError, "ttl=0"),
        ({"grace": -1}, ValueError, "grace=-1"),
        ({"grace": timedelta(days=8)}, ValueError, "grace="),
        ({"weight": 0}, ValueError, "weight=0"),
        ({"capacity": 1.5}, TypeError, "capacity"),
        ({"meta": {"a": {1}}}, ValueError, "meta"),
        ({"node": ""}, ValueError, "node"),
        ({"node": "x" * 201}, ValueError, "201 bytes"),
    ],
)
async def test_bad_options_are_refused_before_anything_is_sent(
    api: Api, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with api.session(NOWHERE) as s:
        given: dict[str, Any] = {"node": "a", **options}
        with pytest.raises(error, match=says):
            await s.ring("shards").join(given.pop("node"), **given)


async def test_without_a_server_nobody_joins(api: Api) -> None:
    async with api.session(NOWHERE, timeout=0.2) as s:
        with pytest.raises(Unreachable):
            await join(s, "a", ttl=0.3)


@on_redis
async def test_what_a_hashed_ring_cannot_have_is_refused(s: AsyncSession) -> None:
    await s.ring("shards").create(slots=1024, mode="hashed")
    with pytest.raises(ValueError, match="too much for a hashed ring"):
        await join(s, "a", weight=1000)
    a = await join(s, "a", weight=2)
    assert has(a) == [1024]
    await a.leave()
