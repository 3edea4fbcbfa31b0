"""Elections as users type them: see `api`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any, assert_type

from coordkit import (
    Acquiring,
    AsyncElection,
    AsyncSession,
    AsyncTerm,
    Candidate,
    Elected,
    Election,
    ElectionInfo,
    Leader,
    Missed,
    NoCandidate,
    NoLeader,
    Paused,
    Resumed,
    Session,
    Suspended,
    Term,
    Unpaused,
    Vacant,
)

MINUTE = timedelta(minutes=1)


def lead(term: Term) -> int:
    """What is done while leading."""
    while not term.lost.wait(1.0):
        if not term.held:
            return 0
    return term.token


async def lead_async(term: AsyncTerm) -> str:
    """What is done while leading."""
    await asyncio.sleep(term.remaining())
    return "done"


def elections(s: Session) -> None:
    election = s.election(
        "scheduler",
        ttl=15,
        renew_deadline=10,
        renew_every=MINUTE / 30,
        handover_delay=0.5,
        max_term=MINUTE,
        waiter_ttl=3,
    )
    assert_type(election, Election)
    assert_type(election.name, str)
    assert_type(election.ttl, float)
    with election.campaign() as term:
        assert_type(term, Term)
        assert_type(term.token, int)
        assert_type(term.resign(), None)
    with election.campaign(5, 10, meta={"addr": ":80"}, preempt=True) as term:
        term.resign(reason="tired")
    assert_type(election.campaign(timeout=MINUTE, priority=-1), Term)
    assert_type(election.run(lead), int)
    assert_type(election.run(lead, 10, meta={}, preempt=True), int)
    assert_type(election.leader(), Leader | None)
    assert_type(election.candidates(), tuple[Candidate, ...])
    assert_type(election.revoke(), Leader | None)
    assert_type(election.revoke(identity="w1", reason="upgrade"), Leader | None)
    assert_type(election.transfer("w2", reason="upgrade"), Leader)
    assert_type(election.pause(), Leader | None)
    assert_type(election.pause(MINUTE, reason="upgrade"), Leader | None)
    assert_type(election.resume(), None)
    assert_type(s.elections(), list[ElectionInfo])
    what_was_seen(election.info())
    assert_type(election.history(), "list[Elected | Vacant | Paused | Unpaused]")
    what_happened(election.observe())


async def async_elections(s: AsyncSession) -> None:
    election = s.election("scheduler", ttl=MINUTE, max_term=None, waiter_ttl=MINUTE)
    assert_type(election, AsyncElection)
    assert_type(election.name, str)
    assert_type(election.ttl, float)
    async with election.campaign() as term:
        assert_type(term, AsyncTerm)
        assert_type(await term.resign(), None)
    under_way: Acquiring[AsyncTerm] = election.campaign(1.5, 3, meta={}, preempt=False)
    assert_type(await under_way, AsyncTerm)
    assert_type(await election.run(lead_async), str)
    assert_type(await election.leader(), Leader | None)
    assert_type(await election.candidates(), tuple[Candidate, ...])
    assert_type(await election.revoke(identity="w1"), Leader | None)
    assert_type(await election.transfer("w2"), Leader)
    assert_type(await election.pause(1.5, reason="upgrade"), Leader | None)
    assert_type(await election.resume(), None)
    assert_type(await s.elections(), list[ElectionInfo])
    assert_type(await election.info(), ElectionInfo)
    for change in await election.history():
        if isinstance(change, Vacant):
            assert_type(change.how, str)
    await what_happened_async(election.observe())


def what_was_seen(info: ElectionInfo) -> None:
    assert_type(info.name, str)
    assert_type(info.state, str)
    assert_type(info.paused_by, str)
    assert_type(info.reason, str)
    leader = info.leader
    if leader is not None:
        assert_type(leader.identity, str)
        assert_type(leader.token, int)
        assert_type(leader.since, float)
        assert_type(leader.meta, Mapping[str, Any])
        assert_type(leader.priority, int)
        assert_type(leader.holder, str)
        assert_type(leader.expires_in, float)
    for candidate in info.candidates:
        assert_type(candidate.identity, str)
        assert_type(candidate.priority, int)
        assert_type(candidate.meta, Mapping[str, Any])
        assert_type(candidate.holder, str)


Event = Elected | Vacant | Paused | Unpaused | Missed | Suspended | Resumed


def what_happened(events: Iterator[Event]) -> list[str]:
    return [told(event) for event in events]


async def what_happened_async(events: AsyncIterator[Event]) -> list[str]:
    return [told(event) async for event in events]


def told(event: Event) -> str:
    match event:
        case Elected(leader):
            return leader.identity
        case Vacant(identity, token, at, how, why):
            return f"{identity} {token} {at:.0f} {how} {why}"
        case Paused(identity, at, why):
            return f"{identity} {at:.0f} {why}"
        case Unpaused(identity, at):
            return f"{identity} {at:.0f}"
        case Missed(token):
            return f"{token + 1}"
        case Suspended(why):
            return why
        case Resumed(silent):
            return f"{silent:.1f} s"


def errors(election: Election) -> str:
    try:
        election.transfer("w2")
    except NoCandidate as error:
        not_found: LookupError = error
        return f"{error.name} {error.identity} {not_found}"
    except NoLeader as error:
        return str(error)
    return ""
