"""Groups whose processes are killed and frozen, and whose server stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from contract.flavours import Api, Started
from coordkit import AsyncSession, Died, Joined, Members
from coordkit._core.members import GroupEvent
from faults import workers
from faults.ruler import Ruler
from faults.workers import hear
from support.history import now
from support.processes import worker
from support.servers import RedisServer

TTL = 0.8
SLACK = 1.0
WATCHERS = 6
THREE = ["a", "b", "c"]

Seen = list[tuple[float, GroupEvent]]


async def watching(api: Api, sessions: list[AsyncSession], members: int) -> list[Any]:
    """Have each session watch; return what each is told, once it knows so many members."""
    streams = [s.group("it", ttl=TTL).watch() for s in sessions]
    for stream in streams:
        first = await anext(stream)
        assert isinstance(first, Members)
        assert len(first) == members
    return streams


async def seen(stream: AsyncGenerator[GroupEvent], kind: type, number: int) -> Seen:
    """Watch until so many of a kind were told; return all that was, and when."""
    told: Seen = []
    async with aclosing(stream):
        while sum(isinstance(event, kind) for _, event in told) < number:
            event = await anext(stream)
            told.append((now(), event))
    return told


def all_of(
    api: Api, streams: list[Any], kind: type, number: int
) -> list[Started[Seen]]:
    """Begin to watch out for so many of a kind."""
    return [api.start(seen(stream, kind, number)) for stream in streams]


async def test_a_crash_is_seen_by_all_who_watch(
    api: Api, server: RedisServer, namespace: str, peer: AsyncSession
) -> None:
    """Not as a death of many: most of them live."""
    group = peer.group("it", ttl=TTL)
    living = [await group.join(f"lives {n}") for n in range(4)]
    told = api.name, server.url, namespace, TTL, THREE
    with worker(workers.belong, *told) as child:
        await hear(api, child, "belongs")
        sessions = [
            api.session(server.url, namespace=namespace) for _ in range(WATCHERS)
        ]
        streams = await watching(api, sessions, 7)
        looking = all_of(api, streams, Died, 3)
        await api.sleep(TTL)  # they are heard of until the end
        child.sigkill()
        killed = now()
        with Ruler() as ruler:
            for each in looking:
                told_of = await each
                died = [event for _, event in told_of if isinstance(event, Died)]
                assert sorted(event.member.identity for event in died) == THREE
                assert not any(event.mass for event in died)
                ruler.judge(told_of[-1][0] - killed, TTL + SLACK)
    assert {each.identity for each in await group.members()} == {
        each.identity for each in living
    }
    for member in living:
        await member.leave()


async def test_a_frozen_member_has_died_and_comes_back_as_another(
    api: Api, server: RedisServer, namespace: str, peer: AsyncSession
) -> None:
    group = peer.group("it", ttl=TTL)
    told = api.name, server.url, namespace, TTL, THREE
    with worker(workers.belong, *told) as child:
        tokens = (await hear(api, child, "belongs"))["tokens"]
        streams = await watching(api, [peer], 3)
        looking = all_of(api, streams, Joined, 3)
        child.sigstop()
        await api.until(lambda: _is_empty(group), timeout=TTL + SLACK, every=0.05)
        child.sigcont()
        back = (await hear(api, child, "came back"))["tokens"]
        events = [event for _, event in await looking[0]]
        died = [event for event in events if isinstance(event, Died)]
        assert {e.member.identity: e.member.token for e in died} == tokens
        assert all(event.mass for event in died)  # it was all of them
        joined = [event for event in events if isinstance(event, Joined)]
        assert {e.member.identity: e.member.token for e in joined} == back
        assert all(back[who] > tokens[who] for who in THREE)
        listed = await group.members()
        assert {each.identity: each.token for each in listed} == back


async def _is_empty(group: Any) -> bool:
    return not await group.members()


async def test_a_server_that_stood_still_is_told_as_a_death_of_many(
    api: Api, server: RedisServer, namespace: str, peer: AsyncSession
) -> None:
    """Nobody died: and all are there again."""
    told = api.name, server.url, namespace, TTL, THREE
    with worker(workers.belong, *told) as child:
        tokens = (await hear(api, child, "belongs"))["tokens"]
        group = peer.group("it", ttl=TTL)
        here = [await group.join(f"here {n}") for n in range(3)]
        sessions = [
            api.session(server.url, namespace=namespace, timeout=0.3)
            for _ in range(WATCHERS)
        ]
        streams = await watching(api, sessions, 6)
        looking = all_of(api, streams, Joined, 6)
        server.pause()
        await api.sleep(2.5 * TTL)
        server.resume()
        back = (await hear(api, child, "came back"))["tokens"]
        for each in looking:
            events = [event for _, event in await each]
            died = [event for event in events if isinstance(event, Died)]
            assert len(died) == 6
            assert all(event.mass for event in died), died
        assert all(back[who] > tokens[who] for who in THREE)
        await api.until(lambda: all(member.held for member in here))
        assert len(await group.members()) == 6
        for member in here:
            await member.leave()
