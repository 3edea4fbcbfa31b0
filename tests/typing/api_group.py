"""Groups as users type them: see `api`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any, assert_type

from coordkit import (
    Acquiring,
    AsyncGroup,
    AsyncLost,
    AsyncMember,
    AsyncSession,
    Changed,
    Died,
    Group,
    Joined,
    Left,
    Lost,
    Member,
    MemberInfo,
    Members,
    Reason,
    Resumed,
    Session,
    State,
    Suspended,
)

SECONDS = timedelta(seconds=10)


def groups(s: Session) -> None:
    group = s.group("workers", ttl=SECONDS)
    assert_type(group, Group)
    assert_type(group.name, str)
    assert_type(group.ttl, float)
    with group.join(
        "w1",
        meta={"addr": "10.0.0.7:80"},
        weight=2.0,
        capacity=100,
        load=0,
        zone="a",
        replace=True,
        rejoin=False,
    ) as member:
        assert_type(member, Member)
        assert_type(member.identity, str)
        assert_type(member.token, int)
        assert_type(member.held, bool)
        assert_type(member.state, State)
        assert_type(member.reason, Reason | None)
        assert_type(member.remaining(), float)
        assert_type(member.check(), None)
        assert_type(member.lost, Lost)
        assert_type(member.report(0.4), None)
        member.report(weight=1, capacity=50, meta={"a": 1}, draining=True)
        assert_type(member.renew(), None)
    assert_type(group.join().leave(), None)
    who_there_is(group.members())
    assert_type(s.groups(), list[Members])
    what_happened(group.watch())


async def async_groups(s: AsyncSession) -> None:
    group = s.group("workers", ttl=10)
    assert_type(group, AsyncGroup)
    assert_type(group.name, str)
    assert_type(group.ttl, float)
    async with group.join(weight=2.0, zone="a") as member:
        assert_type(member, AsyncMember)
        assert_type(member.identity, str)
        assert_type(member.lost, AsyncLost)
        assert_type(await member.report(0.4, draining=False), None)
        assert_type(await member.renew(), None)
    under_way: Acquiring[AsyncMember] = group.join("w2", capacity=3)
    assert_type(await (await under_way).leave(), None)
    who_there_is(await group.members())
    assert_type(await s.groups(), list[Members])
    await what_happened_async(group.watch())


def who_there_is(members: Members) -> list[str]:
    assert_type(members.name, str)
    assert_type(members.birth, int)
    assert_type(members.version, int)
    assert_type(members.members, tuple[MemberInfo, ...])
    assert_type(members[0], MemberInfo)
    assert_type(members[:2], tuple[MemberInfo, ...])
    assert_type(members.get("w1"), MemberInfo | None)
    for member in members:
        assert_type(member.identity, str)
        assert_type(member.holder, str)
        assert_type(member.token, int)
        assert_type(member.since, float)
        assert_type(member.weight, float)
        assert_type(member.capacity, float | None)
        assert_type(member.load, float)
        assert_type(member.zone, str)
        assert_type(member.state, str)
        assert_type(member.draining, bool)
        assert_type(member.meta, Mapping[str, Any])
        assert_type(member.expires_in, float)
        assert_type(member.suspicion, float)
    return [member.identity for member in members]


Event = Members | Joined | Left | Died | Changed | Suspended | Resumed


def what_happened(events: Iterator[Event]) -> list[str]:
    return [told(event) for event in events]


async def what_happened_async(events: AsyncIterator[Event]) -> list[str]:
    return [told(event) async for event in events]


def told(event: Event) -> str:
    match event:
        case Members():
            return f"{len(event)} at {event.version}"
        case Joined(member, version) | Left(member, version):
            return f"{member.identity} {version}"
        case Died(member, version, together, of):
            return f"{member.identity} {version} {together}/{of} {event.mass}"
        case Changed(member, version, before):
            return f"{before.load} {member.load} {version}"
        case Suspended(why):
            return why
        case Resumed(silent):
            return f"{silent:.1f} s"
