"""Who watches a group is told all that changes, in order of version."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place, unkeep
from coordkit import (
    AsyncGroup,
    AsyncSession,
    Changed,
    Died,
    Joined,
    KeyConflict,
    Left,
    Members,
    Resumed,
    Suspended,
)
from coordkit._core.keys import group_keys, news_channel
from support.servers import RedisServer

SOON = 1.0


async def told(watching: Any) -> tuple[Any, ...]:
    """The next event: its kind, of whom, and its version."""
    event = await anext(watching)
    if isinstance(event, Members):
        return Members, [each.identity for each in event], event.version
    if isinstance(event, Suspended | Resumed):
        return (type(event),)
    return type(event), event.member.identity, event.version


async def heard(api: Api, place: Place, s: AsyncSession, number: int = 1) -> None:
    """Wait until so many connections listen to the news."""
    channel = news_channel(s.namespace, "group", "it")
    await api.until(lambda: dict(place.raw.pubsub_numsub(channel))[channel] == number)


@everywhere
async def test_who_is_there_is_told_first_and_then_every_change(
    s: AsyncSession, s2: AsyncSession
) -> None:
    a = await s.group("it").join("a")
    watching = s2.group("it").watch()
    assert await told(watching) == (Members, ["a"], 1)
    b = await s.group("it").join("b", load=0.2)
    await a.report(0.5)
    await b.leave()
    await a.report(draining=True)
    await a.leave()
    assert await told(watching) == (Joined, "b", 2)
    changed = await anext(watching)
    assert isinstance(changed, Changed)
    assert (changed.member.load, changed.before.load, changed.version) == (0.5, 0.0, 3)
    left = await anext(watching)
    assert isinstance(left, Left)
    assert (left.member.identity, left.member.load, left.version) == ("b", 0.2, 4)
    drains = await anext(watching)
    assert isinstance(drains, Changed)
    assert (drains.member.draining, drains.before.draining) == (True, False)
    assert await told(watching) == (Left, "a", 6)
    await watching.aclose()


@everywhere
async def test_a_change_is_pushed(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    """Where nobody was there before, too."""
    watching = s2.group("it").watch()
    assert await told(watching) == (Members, [], 0)
    for version in (1, 3, 5):
        later = api.start(told(watching))
        await api.sleep(0.1)
        began = time.monotonic()
        member = await s.group("it").join("a")
        assert await later == (Joined, "a", version)
        await member.leave()
        assert await told(watching) == (Left, "a", version + 1)
        assert time.monotonic() - began < SOON
    await watching.aclose()


@everywhere
async def test_a_death_is_told_though_nobody_is_left_to_tell_it(
    s: AsyncSession, s2: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.5).join("a", rejoin=False)
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    unkeep(member)
    began = time.monotonic()
    died = await anext(watching)
    assert time.monotonic() - began < 0.5 + SOON
    assert isinstance(died, Died)
    assert (died.member.identity, died.version, died.mass) == ("a", 2, False)
    await member.leave()
    await watching.aclose()


@on_redis_and_fake
async def test_that_most_of_them_died_at_once_is_told(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """As after the server stood still: they had better be doubted."""
    group = s.group("it", ttl=0.5)
    members = [await group.join(f"w{n}", rejoin=False) for n in range(4)]
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    keys = group_keys(s.namespace, "it")
    place.raw.zadd(keys.alive, {member.holder: 1 for member in members[:3]})
    seen = [await anext(watching) for _ in range(3)]
    assert [(type(each), each.together, each.of, each.mass) for each in seen] == [  # type: ignore[union-attr]  # all Died
        (Died, 3, 4, True)
    ] * 3
    for member in members:
        await member.leave()
    await watching.aclose()


@on_redis_and_fake
async def test_one_that_comes_back_has_died_and_joined(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.5).join("a")
    token = member.token
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    keys = group_keys(s.namespace, "it")
    place.raw.zadd(keys.alive, {member.holder: 1})
    assert await told(watching) == (Died, "a", 2)
    joined = await anext(watching)
    assert isinstance(joined, Joined)
    assert joined.version == 3
    assert joined.member.token > token
    await member.leave()
    await watching.aclose()


@on_redis_and_fake
async def test_one_whose_place_was_taken_has_left(
    s: AsyncSession, s2: AsyncSession
) -> None:
    old = await s.group("it").join("a")
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    new = await s2.group("it").join("a", replace=True)
    assert await told(watching) == (Left, "a", 2)
    assert await told(watching) == (Joined, "a", 3)
    for member in (old, new):
        await member.leave()
    await watching.aclose()


async def test_all_who_watch_see_the_same(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    watching = [each.group("it").watch() for each in (s, s2, s2)]
    for each in watching:
        assert (await told(each))[0] is Members
    changes = 0
    for number in range(10):
        member = await (s, s2)[number % 2].group("it").join(f"w{number}")
        await member.report(number + 1)
        await member.leave()
        changes += 3
    for each in watching:
        seen = [await told(each) for _ in range(changes)]
        assert [event[2] for event in seen] == list(range(1, changes + 1))
        assert [event[0] for event in seen] == [Joined, Changed, Left] * 10
        await each.aclose()


@on_redis
async def test_what_the_log_no_longer_has_comes_all_anew(
    s: AsyncSession, s2: AsyncSession
) -> None:
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    member = await s.group("it").join("a")
    for number in range(1100):
        await member.report(number + 1)
    assert await told(watching) == (Members, ["a"], 1101)
    await member.report(0.0)
    assert await told(watching) == (Changed, "a", 1102)
    await member.leave()
    await watching.aclose()


@on_redis_and_fake
async def test_after_a_loss_of_data_all_comes_anew(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.6).join("a")
    watching = s2.group("it").watch()
    assert await told(watching) == (Members, ["a"], 1)
    place.lose_data()
    await member.lost.wait(5)
    await api.until(lambda: member.held)
    seen = [await told(watching)]
    if seen == [(Members, [], 0)]:
        seen = [await told(watching)]
    assert seen in ([(Members, ["a"], 1)], [(Joined, "a", 1)])
    await member.leave()
    assert await told(watching) == (Left, "a", 2)
    await watching.aclose()


# -- silence -------------------------------------------------------------------------------


@on_redis
async def test_a_change_while_the_line_was_lost_is_seen_within_two_seconds(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    for _ in range(5):
        later = api.start(told(watching))
        await heard(api, place, s)
        place.raw.client_kill_filter(_type="pubsub")
        began = time.monotonic()
        member = await s.group("it").join("a")
        assert (await later)[0] is Joined
        assert time.monotonic() - began <= 2.0
        await member.leave()
        assert (await told(watching))[0] is Left
    await watching.aclose()


@pytest.mark.slow
async def test_a_silent_server_is_told_and_that_it_speaks_again(
    api: Api, namespace: str
) -> None:
    with RedisServer() as server:
        s = api.session(server.url, namespace=namespace, timeout=0.3)
        watching = s.group("it").watch()
        assert (await told(watching))[0] is Members
        server.pause()
        try:
            assert await told(watching) == (Suspended,)
        finally:
            server.resume()
        assert await told(watching) == (Resumed,)
        member = await s.group("it").join("a")
        assert await told(watching) == (Joined, "a", 1)
        await member.leave()
        await watching.aclose()


@on_redis_and_fake
async def test_something_else_at_its_keys_is_an_error_not_a_silence(
    place: Place, s: AsyncSession
) -> None:
    place.raw.set(group_keys(s.namespace, "it").group, "not ours")
    with pytest.raises(KeyConflict):
        await anext(s.group("it").watch())


@on_redis
async def test_who_watches_asks_seldom(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Heartbeats are no changes."""
    group: AsyncGroup = s.group("it", ttl=1)
    member = await group.join("a")
    watching = s2.group("it").watch()
    assert (await told(watching))[0] is Members
    later = api.start(told(watching))
    await heard(api, place, s)
    before, began = place.asked(), time.monotonic()
    await api.sleep(2.0)
    asked, took = place.asked() - before, time.monotonic() - began
    assert asked / took <= 3.5 + 2.0  # so many heartbeats, and questions
    await member.leave()
    assert (await later)[0] is Left
    await watching.aclose()
