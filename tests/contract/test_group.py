"""Groups: who is there is listed, for as long as it is heard of."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from contract.flavours import Api, real, run
from contract.marks import everywhere, on_redis, on_redis_and_fake, uvloop_too
from contract.places import Place, unkeep
from contract.test_server_state import foreign, full
from coordkit import (
    AsyncGroup,
    AsyncMember,
    AsyncSession,
    KeyConflict,
    LeaseLost,
    NotHeld,
    Reason,
    Refused,
    State,
    Unreachable,
)
from coordkit._core.group import MemberLease, _joining
from coordkit._core.keys import GroupKeys
from coordkit._core.ops import Call, Op
from support.servers import RedisServer

NOWHERE = "redis://127.0.0.1:1"


def keys_of(group: AsyncGroup) -> GroupKeys:
    inner: Any = group
    keys: GroupKeys = inner._circle.keys
    return keys


async def join(group: AsyncGroup, identity: str, **said: Any) -> AsyncMember:
    return await group.join(identity, **said)


async def names(group: AsyncGroup) -> list[str]:
    return [member.identity for member in await group.members()]


# -- who is there --------------------------------------------------------------------------


@everywhere
@uvloop_too
async def test_who_joins_is_there_until_it_leaves(
    s: AsyncSession, s2: AsyncSession
) -> None:
    group = s2.group("it")
    assert len(await group.members()) == 0
    async with s.group("it").join(
        meta={"addr": ":80"}, weight=2.0, capacity=10, load=0.5, zone="a"
    ) as member:
        members = await group.members()
        assert members.version == 1
        (seen,) = members
        assert (seen.identity, seen.token) == (s.identity, member.token)
        assert (seen.weight, seen.capacity, seen.load) == (2.0, 10.0, 0.5)
        assert (seen.zone, seen.state, seen.meta) == ("a", "active", {"addr": ":80"})
        assert abs(seen.since - time.time()) < 5
        assert 9 < seen.expires_in <= 10
        assert 0 <= seen.suspicion < 0.5
        assert member.held
        assert members.get(s.identity) == seen
    assert member.state is State.RELEASED
    members = await group.members()
    assert (len(members), members.version) == (0, 2)


@everywhere
async def test_many_members_of_several_sessions(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    wanted = [f"w{n}" for n in range(20)]
    members = await api.all(
        *(
            join((s, s2)[n % 2].group("it"), name, load=n)
            for n, name in enumerate(wanted)
        )
    )
    found = await s.group("it").members()
    assert found.version == 20
    assert {each.identity: each.load for each in found} == {
        name: n for n, name in enumerate(wanted)
    }
    tokens = [each.token for each in found]
    assert tokens == sorted(set(tokens)), "in the order in which they joined"
    await api.all(*(member.leave() for member in members))
    assert await names(s.group("it")) == []


async def test_every_change_raises_the_version_by_one(s: AsyncSession) -> None:
    group = s.group("it")
    member = await group.join("a")
    await member.report(0.5)
    await member.report(0.5)  # nothing new
    await member.report(draining=True)
    other = await group.join("b")
    await other.leave()
    members = await group.members()
    assert members.version == 5
    (seen,) = members
    assert (seen.load, seen.draining) == (0.5, True)
    await member.leave()


@on_redis
async def test_groups_do_not_touch_each_other_nor_anything_else(
    s: AsyncSession, elsewhere: AsyncSession
) -> None:
    async with (
        s.group("a").join("w1"),
        s.group("b").join("w2"),
        elsewhere.group("a").join("w3"),
        s.lock("a").acquire(timeout=0),
        s.election("a").campaign(0),
    ):
        assert await names(s.group("a")) == ["w1"]
        assert [members.name for members in await s.groups()] == ["a", "b"]
        assert [len(members) for members in await s.groups()] == [1, 1]
    assert await s.groups() == []


@everywhere
async def test_an_identity_is_had_once(s: AsyncSession, s2: AsyncSession) -> None:
    async with s.group("it").join("w1") as member:
        with pytest.raises(KeyConflict, match="'w1' is a member of the group 'it'"):
            await s2.group("it").join("w1")
        assert (await s.group("it").members()).version == 1
        await member.renew()
    async with s2.group("it").join("w1"):
        pass


@everywhere
async def test_a_place_may_be_taken(s: AsyncSession, s2: AsyncSession) -> None:
    """As by a process that was started anew under its old name."""
    old = await s.group("it", ttl=0.6).join("w1")
    new = await s2.group("it", ttl=0.6).join("w1", replace=True)
    assert new.token > old.token
    assert await names(s.group("it")) == ["w1"]
    assert await old.lost.wait(5)
    assert old.reason is Reason.STOLEN, "it does not come back: that would be a fight"
    with pytest.raises(LeaseLost, match="another holder has it"):
        old.check()
    await old.leave()
    (seen,) = await s.group("it").members()
    assert seen.token == new.token
    await new.leave()


# -- and is heard of -----------------------------------------------------------------------


async def test_who_is_kept_stays(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    async with s.group("it", ttl=0.3).join() as member:
        token = member.token
        for _ in range(10):
            await api.sleep(0.1)
            (seen,) = await s2.group("it").members()
            assert seen.token == token
            assert member.held


@everywhere
async def test_who_is_silent_is_not_listed(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """Whoever looks buries it; no process is special."""
    stays = await s2.group("it", ttl=0.4).join("stays")
    gone = await s.group("it", ttl=0.4).join("gone", rejoin=False)
    unkeep(gone)
    began = time.monotonic()
    while "gone" in await names(s2.group("it")):
        await api.sleep(0.02)
    assert 0.3 < time.monotonic() - began < 0.4 + 0.5
    assert (await s2.group("it").members()).version == 3
    assert gone.reason is Reason.EXPIRED
    await stays.leave()
    await gone.leave()


@on_redis_and_fake
async def test_a_heartbeat_buries_the_silent(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Though nobody looks."""
    stays = await s2.group("it", ttl=0.4).join("stays")
    gone = await s.group("it", ttl=0.4).join("gone", rejoin=False)
    unkeep(gone)
    alive = keys_of(s.group("it")).alive
    await api.until(lambda: place.raw.zcard(alive) == 1)
    assert stays.held
    await stays.leave()
    await gone.leave()


@everywhere
async def test_who_was_buried_joins_again_and_is_somebody_new(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.6).join("w1", load=0.3)
    token, holder = member.token, member.holder
    keys = keys_of(s.group("it"))
    place.raw.zadd(keys.alive, {holder: 1})  # as after a long freeze
    reasons: list[Reason | None] = []
    lease: MemberLease = real(member)
    lease._watch(lambda: reasons.append(lease.reason))
    assert await names(s2.group("it")) == []
    assert await member.lost.wait(5)
    assert reasons == [Reason.EXPIRED]
    await member.report(0.4)
    await api.until(lambda: member.held)
    assert member.token > token
    assert not member.lost.is_set()

    async def told() -> bool:
        return (await s2.group("it").members())[0].load == 0.4

    await api.until(told)
    (seen,) = await s2.group("it").members()
    assert (seen.identity, seen.token, seen.load) == ("w1", member.token, 0.4)
    assert seen.since > token / 1e6
    await member.leave()
    assert await names(s2.group("it")) == []


@on_redis_and_fake
async def test_who_does_not_want_to_comes_back_not(
    api: Api, place: Place, s: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.4).join("w1", rejoin=False)
    place.raw.zadd(keys_of(s.group("it")).alive, {member.holder: 1})
    assert await member.lost.wait(5)
    await api.sleep(0.5)
    assert member.reason is Reason.EXPIRED
    assert await names(s.group("it")) == []
    with pytest.raises(LeaseLost):
        await member.report(0.5)
    await member.leave()


@on_redis_and_fake
async def test_after_a_loss_of_data_all_come_back(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    members = [await s.group("it", ttl=0.6).join(name) for name in ("a", "b", "c")]
    before = await s.group("it").members()
    place.lose_data()
    assert await names(s2.group("it")) == []
    group = s2.group("it")

    async def all_of_them() -> bool:
        return len(await group.members()) == 3

    await api.until(all_of_them)
    after = await group.members()
    assert after.birth > before.birth
    assert after.version == 3
    assert min(each.token for each in after) > max(each.token for each in before)
    await api.until(lambda: all(member.held for member in members))
    for member in members:
        await member.leave()


@on_redis_and_fake
async def test_a_late_heartbeat_makes_no_ghost(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """Of who has left, whatever arrives later brings nobody back."""
    member = await s.group("it").join("w1")
    lease: MemberLease = real(member)
    late = [Call(*lease._renewal(), 1.0)]
    late.append(Call(*_joining(lease._circle, lease._record, lease.holder, 1), 1.0))
    await member.leave()

    def arrive() -> Op[Any]:
        answers: list[Any] = []
        for call in late:
            reply = yield call
            answers.append(reply.value[0])
        return answers

    assert await run(s, arrive()) == [b"expired", [b"gone"]]
    assert await names(s.group("it")) == []


# -- ends ----------------------------------------------------------------------------------


async def test_leaving_twice(s: AsyncSession) -> None:
    member = await s.group("it").join()
    await member.leave()
    with pytest.raises(NotHeld, match="'it' is not held: it was left before"):
        await member.leave()
    with pytest.raises(NotHeld):
        member.check()
    with pytest.raises(NotHeld):
        await member.report(1)


async def test_a_closed_session_leaves(
    api: Api, place: Place, s: AsyncSession, namespace: str
) -> None:
    session = api.session(place.where(api), namespace=namespace)
    member = await session.group("it").join("w1")
    assert await names(s.group("it")) == ["w1"]
    await session.close()
    assert member.state is State.RELEASED
    assert await names(s.group("it")) == []


@on_redis_and_fake
async def test_one_that_nobody_refers_to_is_kept_no_longer(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    member = await s.group("it", ttl=0.4).join("w1", rejoin=False)
    with pytest.warns(ResourceWarning, match="was dropped without release"):
        del member
        gc.collect()
    group = s2.group("it")

    async def gone() -> bool:
        return not await group.members()

    await api.until(gone)


# -- bad days ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"identity": ""}, ValueError, "identity '' is 0 bytes long"),
        ({"weight": 0}, ValueError, "weight=0 is not between"),
        ({"capacity": -1}, ValueError, "capacity=-1 is not between"),
        ({"load": float("nan")}, ValueError, "load=nan is not between"),
        ({"zone": "\n"}, ValueError, "zone"),
        ({"meta": {1: {2: object()}}}, ValueError, "meta cannot be stored"),
        ({"replace": 1}, TypeError, "replace is True or False, not 1"),
        ({"rejoin": "no"}, TypeError, "rejoin is True or False, not 'no'"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(
    api: Api, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    group = api.session(NOWHERE, timeout=0.1).group("it")
    with pytest.raises(error, match=message):
        await group.join(**given)


async def test_a_name_or_a_ttl_that_cannot_be(api: Api) -> None:
    s = api.session(NOWHERE, timeout=0.1)
    with pytest.raises(ValueError, match="name '' is 0 bytes"):
        s.group("")
    with pytest.raises(ValueError, match="ttl=0 is not between"):
        s.group("it", ttl=0)


async def test_a_report_that_cannot_be_changes_nothing(s: AsyncSession) -> None:
    async with s.group("it").join() as member:
        for wrong in (-1, float("inf")):
            with pytest.raises(ValueError, match="load="):
                await member.report(wrong)
        assert (await s.group("it").members()).version == 1


async def test_nobody_is_there_to_ask(api: Api) -> None:
    s = api.session(NOWHERE, timeout=0.1)
    for ask in (s.group("it").members, s.groups, s.group("it", ttl=0.3).join):
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            await ask()


@pytest.mark.parametrize("kind", ["group", "alive", "log", "index", "fence"])
@on_redis_and_fake
async def test_something_else_is_at_one_of_its_keys(
    place: Place, s: AsyncSession, kind: str
) -> None:
    group = s.group("it")
    keys = keys_of(group)
    with foreign(place, getattr(keys, kind)):
        with pytest.raises(KeyConflict, match="another kind of value"):
            await group.join()
        if kind in ("group", "alive"):
            with pytest.raises(KeyConflict):
                await group.members()
        others = {"group", "alive", "log"} - {kind}
        assert not any(place.raw.exists(getattr(keys, other)) for other in others)
    async with group.join():
        pass


@on_redis_and_fake
async def test_something_else_was_put_there_while_it_was_a_member(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """It is lost, and no other of the same heartbeat is."""
    here = await s.group("here", ttl=0.4).join()
    there = await s.group("there", ttl=0.4).join()
    with foreign(place, keys_of(s.group("here")).alive):
        assert await here.lost.wait(5)
        assert here.reason is Reason.CONFLICT
        deadline = there.deadline
        await api.until(lambda: there.deadline > deadline)
    await there.leave()
    await here.leave()


@on_redis_and_fake
async def test_what_is_not_ours_is_no_member(place: Place, s: AsyncSession) -> None:
    group = s.group("it")
    member = await group.join()
    place.raw.hset(keys_of(group).group, member.holder, "not ours")
    with pytest.raises(KeyConflict, match="of the group 'it' is not ours"):
        await group.members()
    await member.leave()


@on_redis
async def test_a_full_server(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Nobody joins; who is there stays, and may leave; and the silent are buried."""
    group = s.group("it", ttl=0.6)
    member, leaves = await group.join("a"), await group.join("b")
    silent = await s2.group("it", ttl=0.6).join("silent", rejoin=False)
    unkeep(silent)
    with full(place):
        with pytest.raises(Refused, match="out of memory"):
            await s2.group("it").join("c")
        with pytest.raises(Refused, match="out of memory"):
            await member.report(0.5)
        await leaves.leave()
        deadline = member.deadline
        await api.until(lambda: member.deadline > deadline)

        async def buried() -> bool:
            return await names(group) == ["a"]

        await api.until(buried)
    await member.report(0.6)
    assert (await group.members())[0].load == 0.6
    await member.leave()
    await silent.leave()


@pytest.mark.slow
async def test_the_server_is_away_for_too_long(api: Api, namespace: str) -> None:
    """Members are lost by their own clock, and back when it is."""
    with RedisServer(persistence="always") as server:
        s = api.session(server.url, namespace=namespace, timeout=0.2)
        group = s.group("it", ttl=1.0)
        member = await group.join("w1")
        server.kill()
        assert await member.lost.wait(5)
        with pytest.raises(Unreachable):
            await group.join("w2")
        await member.report(0.7)
        server.restart()
        await api.until(lambda: member.held)
        (seen,) = await group.members()
        assert (seen.identity, seen.load, seen.token) == ("w1", 0.7, member.token)
        await member.leave()


@pytest.mark.slow
async def test_the_server_stood_still(api: Api, namespace: str) -> None:
    """Everybody is lost at once, and everybody is back."""
    with RedisServer() as server:
        sessions = [
            api.session(server.url, namespace=namespace, timeout=0.2) for _ in range(4)
        ]
        members = [
            await s.group("it", ttl=0.8).join(f"w{n}") for n, s in enumerate(sessions)
        ]
        server.pause()
        for member in members:
            assert await member.lost.wait(5)
        server.resume()
        await api.until(lambda: all(member.held for member in members))
        assert await names(sessions[0].group("it")) is not None
        assert {each.identity for each in await sessions[0].group("it").members()} == {
            f"w{n}" for n in range(4)
        }
        for member in members:
            await member.leave()


@on_redis
async def test_what_is_left_when_all_have_gone(
    api: Api, place: Place, s: AsyncSession
) -> None:
    group = s.group("it", ttl=0.3)
    for _ in range(3):
        async with group.join():
            pass
    keys = keys_of(group)
    for key in (keys.group, keys.log):
        assert 0 < place.raw.pttl(key) <= 1200
    await api.until(lambda: not place.raw.exists(keys.group, keys.log, keys.alive))
