"""A ring that does not fit together: it is told, never gone by, and left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis_and_fake
from contract.places import Place
from contract.ringplay import a_ring, keys_of, stored
from coordkit import (
    AsyncRing,
    AsyncSession,
    CoordError,
    DamagedRing,
    KeyConflict,
    NotPermitted,
    Refused,
    Unsupported,
)
from coordkit._core.keys import RingKeys
from support.servers import RedisServer

Damage = Callable[[Any, RingKeys], Any]
#: What was done to it, and what `verify` says.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "packed gone": (lambda raw, k: raw.delete(k.packed), "its packed snapshot is gone"),
    "packed cut": (
        lambda raw, k: raw.setrange(k.packed, 100, "x"),
        "the packed ring has another CRC than it says",
    ),
    "packed rubbish": (
        lambda raw, k: raw.set(k.packed, "rubbish"),
        "the packed ring is no packed ring",
    ),
    "node gone": (
        lambda raw, k: raw.hdel(k.nodes, "cache-1"),
        "its packed snapshot is of other nodes",
    ),
    "nodes gone": (
        lambda raw, k: raw.delete(k.nodes),
        "its packed snapshot is of other nodes",
    ),
    "node strange": (
        lambda raw, k: raw.hset(k.nodes, "cache-1", "strange"),
        "the record of its node 'cache-1' is no record",
    ),
    "version ahead": (
        lambda raw, k: raw.hincrby(k.meta, "version", 1),
        "its packed snapshot is of another version",
    ),
    "meta strange": (
        lambda raw, k: raw.hset(k.meta, "slots", "many"),
        "its meta does not say what it should",
    ),
    "meta short": (
        lambda raw, k: raw.hdel(k.meta, "mode"),
        "its meta does not say what it should: 'mode'",
    ),
}
#: What lookups do not see, for they go by the packed snapshot.
HIDDEN: dict[str, tuple[Damage, str]] = {
    "point gone": (
        lambda raw, k: raw.zremrangebyrank(k.points, -1, -1),
        "point '1023:cache-2' at 1023 is missing",
    ),
    "point moved": (
        lambda raw, k: raw.zincrby(k.points, 0.5, "1023:cache-2"),
        "point '1023:cache-2' at 1023.5 is not what the packed snapshot says",
    ),
    "point more": (
        lambda raw, k: raw.zadd(k.points, {"2000:cache-1": 2000}),
        "point '2000:cache-1' at 2000 is not what the packed snapshot says",
    ),
    "points gone": (lambda raw, k: raw.delete(k.points), "points in all"),
    "log gone": (lambda raw, k: raw.delete(k.log), "its log is gone"),
    "log short": (
        lambda raw, k: raw.xtrim(k.log, minid="2-1"),
        "its log is gone",
    ),
    "log strange": (
        lambda raw, k: raw.xadd(k.log, {"a": "b"}, id="9-0"),
        "its log holds what is no change",
    ),
    "not listed": (
        lambda raw, k: raw.delete(k.lasting),
        "the index of the namespace does not list it",
    ),
}
Question = Callable[[AsyncRing], Any]
QUESTIONS: dict[str, Question] = {
    "refresh": lambda ring: ring.refresh(),
    "add": lambda ring: ring.add("new"),
    "remove": lambda ring: ring.remove("cache-1"),
    "reweight": lambda ring: ring.reweight("cache-1", 2),
    "plan": lambda ring: ring.plan(add={"new": 1.0}),
    "export": lambda ring: ring.export(),
}


@on_redis_and_fake
@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
async def test_it_is_told_and_nothing_is_changed(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession, damage: Damage, says: str
) -> None:
    ring = await a_ring(s)
    damage(place.raw, keys_of(s))
    before = stored(place, s)
    problems = await ring.verify()
    assert any(says in problem for problem in problems), problems
    fresh = s2.ring("shards")
    for ask in QUESTIONS.values():
        with pytest.raises(DamagedRing, match="the ring 'shards' is damaged"):
            await ask(fresh)
    assert stored(place, s) == before
    assert all(info.name == "shards" for info in await s.rings())


@on_redis_and_fake
@pytest.mark.parametrize(("damage", "says"), HIDDEN.values(), ids=HIDDEN)
async def test_what_lookups_do_not_see_is_verified(
    place: Place, s: AsyncSession, damage: Damage, says: str
) -> None:
    ring = await a_ring(s)
    assert await ring.verify() == []
    damage(place.raw, keys_of(s))
    problems = await ring.verify()
    assert any(says in problem for problem in problems), problems


@on_redis_and_fake
async def test_few_of_many_wrong_points_are_named(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    number = place.raw.zcard(keys_of(s).points)
    place.raw.delete(keys_of(s).points)
    *named, rest = await ring.verify()
    assert len(named) == 5
    assert rest == f"and so on: {number} points in all"


@on_redis_and_fake
async def test_a_hashed_ring_must_be_what_its_names_give(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    hashed = await a_ring(s, "hashed", mode="hashed")
    assert await hashed.verify() == []
    document = await (await a_ring(s2)).export()
    await hashed.import_(document | {"mode": "hashed"}, over=True)
    (problem,) = await hashed.verify()
    assert problem.endswith("slots are not where the names put them")


@on_redis_and_fake
@pytest.mark.parametrize("field", ["format", "hash"])
async def test_what_a_newer_coordkit_has_written_is_refused(
    place: Place, s: AsyncSession, s2: AsyncSession, field: str
) -> None:
    ring = await a_ring(s)
    place.raw.hset(keys_of(s).meta, field, "3" if field == "format" else "xxh3")
    before = stored(place, s)
    fresh = s2.ring("shards")
    more: list[Question] = [lambda ring: ring.verify(), lambda ring: ring.diff(0)]
    for ask in (*QUESTIONS.values(), *more):
        with pytest.raises(Unsupported, match=r"3, this coordkit|'xxh3', not by xxh64"):
            await ask(fresh)
    assert stored(place, s) == before
    assert await s.rings() == []
    assert ring.owner("a"), "until it hears of it"


@pytest.mark.parametrize(
    "field", ["meta", "nodes", "points", "packed", "log", "lasting"]
)
@on_redis_and_fake
async def test_a_key_of_another_kind_is_left_alone(
    place: Place, s: AsyncSession, field: str
) -> None:
    keys = keys_of(s)
    key = getattr(keys, field)
    place.raw.rpush(key, "of somebody else")
    for ask in (
        s.ring("shards").create(),
        s.ring("shards").add({f"n{n}": 1.0 for n in range(9)}),
        s.ring("shards").add("a"),
    ):
        with pytest.raises(CoordError) as refused:
            await ask
        assert isinstance(refused.value, KeyConflict | Refused)
    assert place.raw.lrange(key, 0, -1) == ["of somebody else"]
    ours = {keys.meta, keys.nodes, keys.points, keys.packed, keys.log, keys.lasting}
    assert not place.raw.exists(*(ours - {key}))


@on_redis_and_fake
@pytest.mark.parametrize("field", ["nodes", "points", "packed", "log"])
async def test_a_key_that_became_another_kind_stops_changes(
    place: Place, s: AsyncSession, field: str
) -> None:
    ring = await a_ring(s)
    key = getattr(keys_of(s), field)
    place.raw.delete(key)
    place.raw.rpush(key, "of somebody else")
    before = stored(place, s)
    for ask in (ring.add("new"), ring.remove("cache-1")):
        with pytest.raises(KeyConflict):
            await ask
    assert stored(place, s) == before


# -- a server that refuses ----------------------------------------------------------------------


async def test_when_memory_is_full_nothing_is_changed_and_keys_are_released(
    api: Api, namespace: str
) -> None:
    with RedisServer() as server, server.client(decode_responses=True) as raw:
        session = api.session(server.url, namespace=namespace)
        ring = await a_ring(session)
        await ring.assign("job")
        raw.config_set("maxmemory", "1mb")
        raw.config_set("maxmemory-policy", "noeviction")
        for ask in (
            ring.add("new"),
            ring.remove("cache-1"),
            session.ring("other").create(),
            session.ring("other").add({f"n{n}": 1.0 for n in range(9)}),
            ring.assign("another"),
        ):
            with pytest.raises(Refused, match="out of memory"):
                await ask
        assert await ring.release("job") is not None
        assert await ring.loads() == {}
        assert await ring.verify() == []
        assert ring.version == 2
        raw.config_set("maxmemory", "0")
        assert (await ring.add("new")).version == 3


async def test_who_may_not_write_may_look_up(api: Api, namespace: str) -> None:
    rights = "+@read +@connection +@pubsub +eval +evalsha +time"
    with RedisServer(acl=[f"user reader on >pw ~ck:1:* &ck:1:* {rights}"]) as server:
        writer = api.session(server.url, namespace=namespace)
        await a_ring(writer)
        url = server.url.replace("//", "//reader:pw@")
        reader = api.session(url, namespace=namespace)
        ring = reader.ring("shards")
        await ring.refresh()
        assert ring.owner("a") == writer.ring("shards").owner("a")
        assert await ring.verify() == []
        with pytest.raises(NotPermitted):
            await ring.add("new")


@everywhere
async def test_verify_of_a_ring_that_is_well(s: AsyncSession) -> None:
    ring = await a_ring(s, slots=8192)
    assert await ring.verify() == []
