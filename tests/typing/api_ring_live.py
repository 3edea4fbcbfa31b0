"""Live nodes of a ring as users type them: see `api`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from typing import assert_type

from coordkit import (
    Acquiring,
    Assigned,
    AsyncLiveNode,
    AsyncLost,
    AsyncSession,
    Handover,
    LiveNode,
    Lost,
    Members,
    Node,
    Range,
    Reason,
    Revoked,
    Session,
    State,
)


def live_nodes(s: Session) -> None:
    ring = s.ring("jobs")
    with ring.join(
        "worker-4",
        weight=2,
        zone="a",
        capacity=100,
        meta={"addr": "10.0.0.7:80"},
        ttl=timedelta(seconds=10),
        grace=timedelta(minutes=1),
    ) as me:
        assert_type(me, LiveNode)
        assert_type(me.owns("user:42"), bool)
        assert_type(me.owns(b"user:42"), bool)
        assert_type(me.token_of("user:42"), int | None)
        assert_type(me.ranges(), list[Range])
        assert_type(me.changes(), Generator[Handover])
        for change in me.changes():
            if isinstance(change, Assigned):
                assert_type(change.ranges, tuple[Range, ...])
            else:
                assert_type(change, Revoked)
                assert_type(change.ranges, tuple[Range, ...])
                assert_type(change.lost, bool)
        assert_type(me.name, str)
        assert_type(me.identity, str)
        assert_type(me.holder, str)
        assert_type(me.token, int)
        assert_type(me.ttl, float)
        assert_type(me.held, bool)
        assert_type(me.state, State)
        assert_type(me.reason, Reason | None)
        assert_type(me.remaining(), float)
        assert_type(me.deadline, float)
        assert_type(me.check(), None)
        assert_type(me.lost, Lost)
        assert_type(me.renew(), None)
        assert_type(me.leave(), None)
    assert_type(ring.live(), Members)
    where = ring.locate("user:42")
    assert_type((where.next, where.token), tuple[str | None, int])
    node = ring.nodes()[0]
    assert_type(node, Node)
    assert_type((node.joined, node.holder), tuple[bool, int])
    assert_type((node.grace, node.until), tuple[float, float])


async def async_live_nodes(s: AsyncSession) -> None:
    ring = s.ring("jobs")
    joining: Acquiring[AsyncLiveNode] = ring.join("worker-4")
    assert_type(await joining, AsyncLiveNode)
    async with ring.join("worker-4", ttl=10, grace=60) as me:
        assert_type(me, AsyncLiveNode)
        assert_type(me.owns("user:42"), bool)
        assert_type(me.token_of("user:42"), int | None)
        assert_type(me.ranges(), list[Range])
        assert_type(me.changes(), AsyncGenerator[Handover])
        async for change in me.changes():
            assert_type(change, Assigned | Revoked)
        assert_type(me.lost, AsyncLost)
        assert_type(await me.renew(), None)
        assert_type(await me.leave(), None)
    assert_type(await ring.live(), Members)
