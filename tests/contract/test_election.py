"""Elections: one leader at a time, by priority and by arrival, and its terms rise."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from contract.flavours import Api, real, run
from contract.marks import everywhere, on_redis, on_redis_and_fake, uvloop_too
from contract.places import Place, keys_of, lead, promptly, stranger, unkeep
from coordkit import (
    AsyncElection,
    AsyncSession,
    AsyncTerm,
    Candidate,
    LeadershipLost,
    LeaseLost,
    LockTimeout,
    NotHeld,
    Reason,
    State,
)
from coordkit._core.lock import release_call
from coordkit._core.ops import Op
from core.props import a_standing


async def waiting(
    api: Api, place: Place, election: AsyncElection, number: int = 1
) -> None:
    """Wait until so many stand for election."""
    await api.until(lambda: place.waiting(election) == number)


# -- one leads ---------------------------------------------------------------------------


@everywhere
@uvloop_too
async def test_who_is_elected_leads_until_it_resigns(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    election = s.election("it")
    assert await election.leader() is None
    async with election.campaign(meta={"addr": ":80"}) as term:
        leader = await s2.election("it").leader()
        assert leader is not None
        assert (leader.identity, leader.token) == (s.identity, term.token)
        assert leader.meta == {"addr": ":80"}
        assert (leader.priority, leader.holder) == (0, term.holder)
        assert 0 < leader.expires_in <= 15
        assert abs(leader.since - time.time()) < 5
        assert term.held
        assert 9 < term.remaining() <= 10, "two thirds of the ttl"
        with pytest.raises(LockTimeout, match="'it' was not free within 0 s"):
            await s2.election("it").campaign(timeout=0)
    assert term.state is State.RELEASED
    assert await election.leader() is None
    assert place.untouched(election)


async def test_terms_rise(s: AsyncSession, s2: AsyncSession) -> None:
    terms: list[int] = []
    for session in (s, s2, s):
        async with session.election("it").campaign() as term:
            terms.append(term.token)
    assert terms == sorted(set(terms))


async def test_a_term_fences(s: AsyncSession, s2: AsyncSession) -> None:
    async with s.election("it").campaign() as old:
        await s.fence("it").set("by", "old", token=old.token)
    async with s2.election("it").campaign() as new:
        await s2.fence("it").set("by", "new", token=new.token)
    with pytest.raises(Exception, match="is stale"):
        await s.fence("it").check(old.token)


async def test_an_election_is_no_lock_of_the_same_name(
    s: AsyncSession, s2: AsyncSession
) -> None:
    async with s.election("it").campaign(), s2.lock("it").acquire(timeout=0):
        assert [info.name for info in await s.locks()] == ["it"]
        assert [info.name for info in await s.elections()] == ["it"]
    assert await s.locks() == []


@on_redis
async def test_a_campaign_has_a_limit(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async with s.election("it").campaign():
        with pytest.raises(LockTimeout, match=r"within 0\.2 s"):
            await s2.election("it").campaign(0.2)
        await waiting(api, place, s.election("it"), 0)


# -- who is next -------------------------------------------------------------------------


@everywhere
async def test_higher_priority_goes_first_and_among_equals_who_came_first(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    leader = await s.election("it").campaign()
    election = s2.election("it")
    elected: list[tuple[int, int]] = []

    async def stand(number: int, priority: int) -> None:
        async with election.campaign(20, priority):
            elected.append((priority, number))

    standing: list[Any] = []
    for number, priority in enumerate([0, 5, -3, 5, 0, 100, -100, 5]):
        standing.append(api.start(stand(number, priority)))
        await waiting(api, place, election, len(standing))
    expected = [(100, 5), (5, 1), (5, 3), (5, 7), (0, 0), (0, 4), (-3, 2), (-100, 6)]
    assert [each.priority for each in await election.candidates()] == [
        priority for priority, _ in expected
    ]
    await leader.resign()
    for each in standing:
        await each
    assert elected == expected


async def test_candidates_are_shown_in_line(
    api: Api, place: Place, namespace: str, s: AsyncSession
) -> None:
    election = s.election("it")
    term = await election.campaign(meta={"leads": True})
    sessions = [
        api.session(place.where(api), namespace=namespace, identity=name)
        for name in ("low", "high")
    ]
    standing = [
        api.start(lead(session.election("it"), priority=priority, meta={"p": priority}))
        for session, priority in zip(sessions, (-1, 7), strict=True)
    ]
    await waiting(api, place, election, 2)
    info = await election.info()
    assert info.state == "led"
    assert info.leader == await election.leader() or info.leader is not None
    high, low = info.candidates
    assert high == Candidate("high", 7, {"p": 7}, high.holder)
    assert low == Candidate("low", -1, {"p": -1}, low.holder)
    assert await election.candidates() == info.candidates
    await term.resign()
    second = await standing[1]
    await second.resign()
    await (await standing[0]).resign()
    assert await election.candidates() == ()


@on_redis_and_fake
async def test_a_dead_candidate_is_none(place: Place, s: AsyncSession) -> None:
    election = s.election("it")
    async with election.campaign():
        place.enqueue(election, stranger(), alive=-1)
        assert await election.candidates() == ()


async def test_who_comes_with_a_higher_priority_goes_before_who_was_woken(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """The seat is kept for the first in line, and that is somebody else now."""
    election = s2.election("it", waiter_ttl=40)
    place.enqueue(election, stranger(), alive=40)
    with pytest.raises(LockTimeout):
        await election.campaign(0)
    term = await s.election("it").campaign(0, 1)
    await term.resign()


@on_redis
async def test_who_becomes_first_in_line_waits_for_the_leader_not_for_the_other(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    election = s2.election("it", waiter_ttl=40)
    term = await s.election("it", ttl=0.5).campaign()
    place.enqueue(election, stranger(), alive=40)
    unkeep(term)
    began = time.monotonic()
    successor = await election.campaign(10, 1)
    assert time.monotonic() - began < 0.5 + 0.5
    await successor.resign()
    with pytest.raises(LeadershipLost):
        await term.resign()


# -- it passes on ------------------------------------------------------------------------


@everywhere
@uvloop_too
async def test_a_resignation_elects_the_next_at_once(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """By itself it would ask again after 20 s only."""
    mine = s.election("it", ttl=60, waiter_ttl=40)
    theirs = s2.election("it", ttl=60, waiter_ttl=40)
    for _ in range(3):
        term = await mine.campaign()
        successor = api.start(lead(theirs))
        await waiting(api, place, theirs)
        await api.sleep(0.01)
        await term.resign(reason="tired")
        next_term = await promptly(successor)
        assert next_term.token > term.token
        assert next_term.remaining() > 39, "a whole term, not what a hand-over gives"
        await next_term.resign()


async def test_a_leader_that_died_is_missed_for_its_ttl(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.5).campaign()
    unkeep(term)
    began = time.monotonic()
    successor = await s2.election("it", waiter_ttl=40).campaign(10)
    took = time.monotonic() - began
    assert 0.3 < took < 0.5 + 0.5
    assert term.reason is Reason.EXPIRED
    with pytest.raises(LeadershipLost, match=f"'it' .term {term.token}. is lost"):
        await term.resign()
    await successor.resign()


@on_redis_and_fake
async def test_after_a_term_that_was_not_resigned_nobody_leads_for_the_delay(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    times: dict[str, Any] = {"ttl": 0.3, "handover_delay": 0.6, "waiter_ttl": 40}
    term = await s.election("it", **times).campaign()
    unkeep(term)
    began = time.monotonic()
    successor = await s2.election("it", **times).campaign(10)
    took = time.monotonic() - began
    assert 0.8 < took < 0.9 + 0.5
    waiter = api.start(lead(s.election("it", **times)))
    await api.sleep(0.05)
    await successor.resign()
    await (await promptly(waiter)).resign()


# -- the leader steps down -----------------------------------------------------------------


@on_redis_and_fake
async def test_a_term_that_could_not_be_renewed_ends_before_the_lease_does(
    s: AsyncSession, s2: AsyncSession
) -> None:
    """What lies between is for the work to end."""
    term = await s.election("it", ttl=0.9, renew_deadline=0.45).campaign()
    unkeep(term)
    assert await term.lost.wait(5)
    leader = await s2.election("it").leader()
    assert leader is not None
    assert leader.token == term.token
    assert leader.expires_in > 0.2
    with pytest.raises(LeadershipLost, match="before a renewal succeeded"):
        await term.resign()
    assert await s2.election("it").leader() is None


async def test_a_term_lasts_no_longer_than_max_term(
    s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.6, max_term=0.7).campaign()
    deadline = term.deadline
    assert await term.lost.wait(5)
    assert term.deadline > deadline
    assert (term.state, term.reason) == (State.LOST, Reason.OVER)
    leader = await s2.election("it").leader()
    assert leader is not None
    assert leader.token == term.token, "until its work has ended, nobody else leads"
    with pytest.raises(LeadershipLost, match="it was to last no longer"):
        await term.resign()


@everywhere
async def test_a_candidate_of_higher_priority_may_ask_the_leader_to_resign(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.6).campaign(priority=5)
    for priority in (4, 5):  # not over the head of an equal
        with pytest.raises(LockTimeout):
            await s2.election("it").campaign(0.4, priority, preempt=True)
    with pytest.raises(LockTimeout):
        await s2.election("it").campaign(0.4, 6)
    assert term.held
    successor = api.start(lead(s2.election("it"), priority=6, preempt=True))
    assert await term.lost.wait(5)
    assert term.reason is Reason.REVOKED
    assert not successor.done()
    with pytest.raises(LeadershipLost, match="asked to let go"):
        await term.resign()
    await (await promptly(successor)).resign()


# -- ends of a term ------------------------------------------------------------------------


async def test_resigning_twice(s: AsyncSession) -> None:
    term = await s.election("it").campaign()
    await term.resign()
    with pytest.raises(NotHeld, match="'it' is not held: it was released before"):
        await term.resign()
    with pytest.raises(NotHeld):
        term.check()


@on_redis_and_fake
async def test_a_lost_term_is_a_lost_lease(place: Place, s: AsyncSession) -> None:
    term = await s.election("it", ttl=0.4).campaign()
    place.raw.delete(keys_of(s.election("it")).lock)
    assert await term.lost.wait(5)
    assert term.reason is Reason.EVICTED
    with pytest.raises(LeaseLost) as lost:
        term.check()
    assert type(lost.value) is LeadershipLost
    assert (lost.value.name, lost.value.token) == ("it", term.token)


async def test_the_body_ends_with_the_term(
    api: Api, place: Place, s: AsyncSession
) -> None:
    """In asyncio it is cancelled; in a thread it has to look."""

    async def body(term: AsyncTerm) -> None:
        if api.name == "sync":
            await term.lost.wait(5)
            term.check()
        await api.sleep(5)

    with pytest.raises(LeadershipLost, match="its key is gone"):
        async with s.election("it", ttl=0.4).campaign() as term:
            place.raw.delete(keys_of(s.election("it")).lock)
            await body(term)


@on_redis_and_fake
async def test_a_straggler_of_a_campaign_that_was_given_up_leads_not(
    place: Place, s: AsyncSession
) -> None:
    """The seat is not taken by who has gone; nor is its end in the history."""
    election = s.election("it")
    await (await election.campaign()).resign()
    claim = real(election)._asked(a_standing())

    def straggle() -> Op[Any]:
        reply = yield release_call(claim, stranger(), 60_000)
        return reply.value

    assert await run(s, straggle()) == [b"not ours"]
    assert len(await election.history()) == 2


# -- who is who ----------------------------------------------------------------------------


async def test_an_empty_identity_is_refused(api: Api, place: Place) -> None:
    with pytest.raises(ValueError, match="identity '' is 0 bytes long"):
        api.session(place.where(api), identity="")


@on_redis_and_fake
async def test_a_second_process_of_the_same_identity_is_told(
    api: Api, place: Place, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "coordkit")
    twins = [
        api.session(place.where(api), namespace=namespace, identity="w1")
        for _ in range(2)
    ]
    first = await twins[0].election("it").campaign()
    assert not caplog.records
    with pytest.raises(LockTimeout):
        await twins[0].election("it").campaign(0)  # the same process: no other
    assert not caplog.records
    with pytest.raises(LockTimeout):
        await twins[1].election("it").campaign(0)
    (record,) = caplog.records
    assert "another process, too, is called 'w1'" in record.getMessage()
    await first.resign()


# -- what it costs -------------------------------------------------------------------------


@on_redis
async def test_who_waits_asks_less_than_once_a_second(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async def stand() -> None:
        await (await lead(s2.election("it"))).resign()

    term = await s.election("it").campaign()
    standing = [api.start(stand()) for _ in range(4)]
    await waiting(api, place, s.election("it"), 4)
    before, began = place.asked(), time.monotonic()
    await api.sleep(2.5)
    asked, took = place.asked() - before, time.monotonic() - began
    assert asked / took / 4 <= 1.0
    await term.resign()
    for each in standing:
        await each
