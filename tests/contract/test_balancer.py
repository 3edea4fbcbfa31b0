"""Balancers: a live member is picked, by what this process knows of the group."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from contract.flavours import Api
from contract.forks import in_child
from contract.marks import everywhere, on_redis, on_redis_and_fake, only_sync
from contract.places import Place, unkeep
from contract.test_group import join, keys_of
from contract.test_server_state import foreign, full
from coordkit import (
    AsyncBalancer,
    AsyncMember,
    AsyncSession,
    KeyConflict,
    NoMember,
    Refused,
    StaleGroup,
    Unreachable,
)
from coordkit._core.balance import STRATEGIES
from support.servers import RedisServer

NOWHERE = "redis://127.0.0.1:1"
SOON = 1.0

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


async def a_group(
    s: AsyncSession, names: Sequence[str] = "abc", ttl: float = 10.0, **said: Any
) -> dict[str, AsyncMember]:
    return {name: await join(s.group("it", ttl=ttl), name, **said) for name in names}


async def gone(members: dict[str, AsyncMember]) -> None:
    for member in members.values():
        await member.leave()


async def picked(
    balancer: AsyncBalancer, number: int = 60, exclude: Sequence[str] = ()
) -> Counter[str]:
    """Who is picked how often; every pick is done at once."""
    found: Counter[str] = Counter()
    for n in range(number):
        key = f"user:{n}" if balancer.strategy == "ring" else None
        member = await balancer.pick(key, exclude=exclude)
        found[member.identity] += 1
        balancer.report(member, "ok")
    return found


def picks(balancer: AsyncBalancer, names: str) -> Callable[[], Any]:
    """Whether these are picked, and nobody else."""

    async def are() -> bool:
        try:
            return set(await picked(balancer, 30)) == set(names)
        except (NoMember, StaleGroup):
            return not names

    return are


# -- picks ----------------------------------------------------------------------------


@everywhere
@each_strategy
async def test_live_members_are_picked(
    api: Api, s: AsyncSession, s2: AsyncSession, strategy: Any
) -> None:
    members = await a_group(s)
    balancer = s2.balancer("it", strategy=strategy)
    assert set(await picked(balancer)) == set("abc")
    assert set(await picked(balancer, exclude=["a"])) == set("bc")
    await members["b"].report(draining=True)
    await api.until(picks(balancer, "ac"))
    await members["a"].leave()
    await api.until(picks(balancer, "c"))
    later = await join(s.group("it"), "d")
    await api.until(picks(balancer, "cd"))
    for member in (members["b"], members["c"], later):
        await member.leave()
    await api.until(picks(balancer, ""))
    with pytest.raises(
        NoMember, match="nobody of the group 'it' can be picked: it has"
    ):
        await balancer.pick("k" if strategy == "ring" else None)


async def test_what_is_picked_is_what_the_member_says(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, "a", meta={"addr": ":80"}, weight=2.0, zone="z")
    balancer = s2.balancer("it")
    found = await balancer.pick()
    assert (found.identity, found.meta, found.weight) == ("a", {"addr": ":80"}, 2.0)
    assert (found.zone, found.token) == ("z", members["a"].token)
    await members["a"].report(0.5)

    async def seen() -> bool:
        return (await balancer.pick()).load == 0.5

    await api.until(seen, timeout=SOON)
    await gone(members)


@everywhere
async def test_all_clients_take_turns_of_one_sequence(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s)
    ours = s.balancer("it", strategy="round_robin")
    theirs = s2.balancer("it", strategy="round_robin")
    again = s2.balancer("it", strategy="round_robin")
    found = [
        (await balancer.pick()).identity
        for _ in range(6)
        for balancer in (ours, theirs, again)
    ]
    assert found == found[:3] * 6
    assert set(found[:3]) == set("abc")

    async def some(balancer: AsyncBalancer) -> Counter[str]:
        return await picked(balancer, 30)

    counts = await api.all(some(ours), some(theirs), some(again))
    assert sum(counts, Counter[str]()) == dict.fromkeys("abc", 30)
    await gone(members)


@on_redis
async def test_a_pick_asks_nobody_but_for_a_turn(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, ttl=60.0)
    await s.group("it").members()
    for strategy in STRATEGIES:
        balancer = s2.balancer("it", strategy=strategy)
        await picked(balancer, 1)
        asked = place.asked()
        await picked(balancer, 100)
        asked = place.asked() - asked
        if strategy == "round_robin":
            assert 100 <= asked <= 105
        else:
            assert asked <= 5, "but what the follower and the keeper ask meanwhile"
    await gone(members)


@on_redis_and_fake
async def test_least_loaded_goes_by_what_is_reported(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, capacity=10)
    await members["a"].report(9)
    await members["b"].report(1)
    await members["c"].report(3, capacity=100)
    balancer = s2.balancer("it", strategy="least_loaded")
    assert await picked(balancer, 20) == {"c": 20}
    await members["c"].report(50)
    await api.until(picks(balancer, "b"))
    await gone(members)


@on_redis
async def test_all_clients_have_the_same_member_for_a_key(
    s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, "abcdef")
    ours, theirs = (each.balancer("it", strategy="ring", c=1000) for each in (s, s2))
    for n in range(200):
        one, other = (
            await ours.pick(f"user:{n}"),
            await theirs.pick(f"user:{n}".encode()),
        )
        assert one.identity == other.identity
    await gone(members)


async def test_threads_and_tasks_share_a_balancer(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, "abcd")
    for strategy in ("weighted", "least_loaded"):
        balancer = s2.balancer("it", strategy=strategy)

        async def some(balancer: AsyncBalancer = balancer) -> Counter[str]:
            return Counter([(await balancer.pick()).identity for _ in range(100)])

        counts = await api.all(*(some() for _ in range(4)))
        assert sum(counts, Counter[str]()) == dict.fromkeys("abcd", 100)
    await gone(members)


# -- health -----------------------------------------------------------------------------


@on_redis_and_fake
async def test_who_falls_silent_is_avoided_before_it_is_dead(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, ttl=4.0)
    balancer = s2.balancer("it", strategy="random")
    trusting = s2.balancer("it", strategy="random", max_suspicion=None)
    assert set(await picked(balancer)) == set("abc")
    unkeep(members["a"])
    await api.until(picks(balancer, "bc"))
    listed = [each.identity for each in await s.group("it").members()]
    assert listed == ["a", "b", "c"]
    assert set(await picked(trusting)) == set("abc")
    await members["a"].renew()
    await api.until(picks(balancer, "abc"))
    await gone(members)


@on_redis_and_fake
async def test_who_dies_is_picked_no_more(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """Though nobody else's heartbeat buries it."""
    member = await join(s.group("it", ttl=0.5), "a", rejoin=False)
    balancer = s2.balancer("it")
    assert (await balancer.pick()).identity == "a"
    unkeep(member)
    began = time.monotonic()
    await api.until(picks(balancer, ""))
    assert time.monotonic() - began < 0.5 + SOON
    await member.leave()


@on_redis
async def test_who_fails_is_ejected_by_who_was_told(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s)
    balancer = s2.balancer("it", max_failures=2, ejection=0.3)
    other = s2.balancer("it")
    bad = await balancer.pick()
    for _ in range(2):
        balancer.report(bad, "failed")
    assert balancer.ejected == (bad.identity,)
    assert set(await picked(balancer, 30)) == set("abc") - {bad.identity}
    assert set(await picked(other)) == set("abc")
    await api.until(picks(balancer, "abc"))
    assert not balancer.ejected
    await gone(members)


# -- bad days ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_too_old_is_told_and_fresh_again_is_picked_from(
    api: Api, namespace: str
) -> None:
    with RedisServer() as server:
        s = api.session(server.url, namespace=namespace, timeout=0.2)
        member = await join(s.group("it", ttl=20), "a")
        balancer = s.balancer("it", max_staleness=1.0)
        lasting = s.balancer("it", max_staleness=60.0)
        assert (await balancer.pick()).identity == "a"
        assert (await lasting.pick()).identity == "a"
        server.pause()

        async def stale() -> bool:
            try:
                await balancer.pick()
            except StaleGroup:
                return True
            return False

        try:
            began = time.monotonic()
            await api.until(stale)
            assert time.monotonic() - began < 1.0 + SOON
            with pytest.raises(
                StaleGroup, match="'it' is not known well enough: no ans"
            ):
                await balancer.pick()
            assert (await lasting.pick()).identity == "a"
            with pytest.raises(Unreachable):
                await s.balancer("it", strategy="round_robin").pick()
        finally:
            server.resume()
        await api.until(picks(balancer, "a"))
        await member.leave()


@on_redis_and_fake
async def test_a_group_whose_data_was_lost_is_back_with_its_members(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s, ttl=0.6)
    balancer = s2.balancer("it")
    assert set(await picked(balancer)) == set("abc")
    place.lose_data()
    await api.until(picks(balancer, "abc"))
    await api.until(lambda: all(member.held for member in members.values()))
    assert {(await balancer.pick()).token for _ in range(30)} <= {
        member.token for member in members.values()
    }
    await gone(members)


async def test_nobody_is_there_to_ask(api: Api) -> None:
    s = api.session(NOWHERE, timeout=0.1)
    for strategy in ("random", "round_robin"):
        balancer = s.balancer("it", strategy=strategy)
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
                await balancer.pick()
    assert balancer.ejected == ()


@on_redis_and_fake
async def test_something_else_is_at_one_of_its_keys(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    group = s.group("it")
    with foreign(place, keys_of(group).group), pytest.raises(KeyConflict):
        await s2.balancer("it").pick()
    async with group.join("a"):
        balancer = s2.balancer("it")
        await balancer.pick()
        with foreign(place, keys_of(group).turn):
            assert (await balancer.pick()).identity == "a"
            with pytest.raises((KeyConflict, Refused)):
                await s2.balancer("it", strategy="round_robin").pick()


@on_redis
async def test_a_full_server_gives_no_turns_and_that_is_all(
    place: Place, s: AsyncSession
) -> None:
    members = await a_group(s)
    balancer, turns = s.balancer("it"), s.balancer("it", strategy="round_robin")
    await turns.pick()
    with full(place):
        assert set(await picked(balancer)) == set("abc")
        with pytest.raises(Refused, match="out of memory"):
            await turns.pick()
    await turns.pick()
    await gone(members)


@on_redis
async def test_the_turns_of_a_group_that_nobody_picks_from_are_forgotten(
    place: Place, s: AsyncSession
) -> None:
    async with s.group("it").join():
        await s.balancer("it", strategy="round_robin").pick()
        turn = keys_of(s.group("it")).turn
        assert 86_000_000 < place.raw.pttl(turn) <= 86_400_000


async def test_a_closed_session_picks_nobody(
    api: Api, place: Place, s: AsyncSession, namespace: str
) -> None:
    members = await a_group(s, "a")
    session = api.session(place.where(api), namespace=namespace)
    balancer, unasked = session.balancer("it"), session.balancer("other")
    turns = session.balancer("it", strategy="round_robin")
    await balancer.pick()
    await session.close()
    with pytest.raises(StaleGroup, match="session is closed"):
        await balancer.pick()
    for other in (unasked, turns):
        with pytest.raises(RuntimeError, match="session is closed"):
            await other.pick()
    await gone(members)


@only_sync
@on_redis
async def test_a_child_process_asks_anew(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    members = await a_group(s)
    balancer: Any = s2.balancer("it")
    await balancer.pick()

    def child() -> None:
        pick = object.__getattribute__(balancer, "_real").pick
        assert {pick().identity for _ in range(30)} == set("abc")
        assert threading.active_count() == 2, "this thread and a follower of its own"

    assert in_child(child) == 0
    await gone(members)
    await api.until(picks(balancer, ""))


@on_redis
async def test_what_is_known_of_a_group_is_known_once(
    place: Place, s: AsyncSession
) -> None:
    members = await a_group(s, ttl=60.0)
    await s.balancer("it").pick()
    asked = place.asked()
    for _ in range(100):
        await s.balancer("it").pick()
    assert place.asked() - asked <= 3
    await gone(members)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"strategy": "best"}, ValueError, "strategy='best' is none of"),
        ({"cost": -1}, ValueError, "cost=-1"),
        ({"c": 0}, ValueError, "c=0 is not between"),
        ({"max_staleness": 0.5}, ValueError, "max_staleness=0.5 is not between 1"),
        ({"max_suspicion": -1}, ValueError, "max_suspicion=-1"),
        ({"max_failures": 0.5}, TypeError, "max_failures is an int"),
        ({"ejection": 0}, ValueError, "ejection=0"),
        ({"max_ejected": 50}, ValueError, "max_ejected=50 is not between 0 and 1"),
        ({"group": ""}, ValueError, "name '' is 0 bytes long"),
    ],
)
async def test_wrong_options(
    api: Api, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    s = api.session(NOWHERE, timeout=0.1)
    with pytest.raises(error, match=message):
        options: dict[str, Any] = {"group": "it", **given}
        s.balancer(**options)


async def test_wrong_arguments_are_refused_before_anything_is_sent(api: Api) -> None:
    s: Any = api.session(NOWHERE, timeout=0.1)
    ring, others = s.balancer("it", strategy="ring"), s.balancer("it")
    for ask, message in (
        (ring.pick, "needs a key"),
        (lambda: ring.pick(7), "a key is a str or bytes, not int"),
        (lambda: others.pick("k"), "'two_choices' takes no key"),
        (lambda: others.pick(exclude="a"), "exclude is several members"),
        (lambda: others.pick(exclude=[7]), "excluded identity is a str, not int"),
    ):
        with pytest.raises(TypeError, match=message):
            await ask()
    with pytest.raises(TypeError, match="a member is what pick"):
        others.report("a", "ok")
