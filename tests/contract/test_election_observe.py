"""Observers see every change of an election, in order of term, or that they missed some."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place, RedisPlace, keys_of, lead, unkeep
from coordkit import (
    AsyncSession,
    CoordError,
    Elected,
    KeyConflict,
    LeadershipLost,
    Missed,
    Paused,
    Resumed,
    Suspended,
    Unpaused,
    Vacant,
)
from coordkit._core.keys import history_key, news_channel
from support.servers import RedisServer

SOON = 1.0


async def told(observing: Any) -> tuple[Any, ...]:
    """The next change: its kind, whose it is, and why it ended."""
    event = await anext(observing)
    match event:
        case Elected(leader):
            return Elected, leader.identity, leader.token
        case Vacant(identity, token, _, how, why):
            return Vacant, identity, token, how, why
        case _:
            return (type(event), event)


async def heard(api: Api, place: Place, s: AsyncSession, number: int = 1) -> None:
    """Wait until so many connections listen to the news."""
    channel = news_channel(s.namespace, "leader", "it")
    await api.until(lambda: dict(place.raw.pubsub_numsub(channel))[channel] == number)


def history_of(s: AsyncSession) -> str:
    return history_key(s.namespace, "it")


@everywhere
async def test_who_leads_is_told_first_and_then_every_change(
    s: AsyncSession, s2: AsyncSession
) -> None:
    election = s.election("it")
    first = await election.campaign(meta={"n": 1}, priority=3)
    observing = s2.election("it").observe()
    event = await anext(observing)
    assert isinstance(event, Elected)
    assert event.leader == await election.leader() or event.leader.token == first.token
    assert (event.leader.meta, event.leader.priority) == ({"n": 1}, 3)
    await first.resign(reason="tired")
    assert await told(observing) == (
        *(Vacant, s.identity, first.token),
        *("resigned", "tired"),
    )
    second = await s2.election("it").campaign()
    assert await told(observing) == (Elected, s2.identity, second.token)
    await second.resign()
    assert await told(observing) == (Vacant, s2.identity, second.token, "resigned", "")
    await observing.aclose()


@everywhere
async def test_a_change_is_pushed(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    observing = s2.election("it").observe()
    assert await told(observing) == (Vacant, "", 0, "", "")
    for _ in range(3):
        later = api.start(told(observing))
        if place.raw.__class__.__name__ != "RedisCluster":
            await heard(api, place, s)
        await api.sleep(0.1)
        began = time.monotonic()
        term = await s.election("it").campaign()
        assert await later == (Elected, s.identity, term.token)
        await term.resign()
        assert await told(observing) == (Vacant, s.identity, term.token, "resigned", "")
        assert time.monotonic() - began < SOON
    await observing.aclose()


async def test_many_observers_see_the_same(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    elections = [session.election("it") for session in (s, s2, s2)]
    observing = [election.observe() for election in elections]
    for each in observing:
        assert (await told(each))[0] is Vacant
    terms: list[int] = []
    for number in range(6):
        async with (s, s2)[number % 2].election("it").campaign() as term:
            terms.append(term.token)
    for each in observing:
        seen = [await told(each) for _ in range(12)]
        assert [event[2] for event in seen] == [t for t in terms for _ in range(2)]
        assert [event[0] for event in seen] == [Elected, Vacant] * 6
        await each.aclose()


async def test_that_a_term_was_lost_is_seen_when_its_lease_has_ended(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """Nobody publishes that: an observer knows until when a leader leads."""
    term = await s.election("it", ttl=0.5).campaign()
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Elected
    unkeep(term)
    began = time.monotonic()
    assert await told(observing) == (Vacant, s.identity, term.token, "lost", "")
    assert time.monotonic() - began < 0.5 + SOON
    with pytest.raises(LeadershipLost):
        await term.resign()
    await observing.aclose()


async def test_a_loss_that_was_followed_by_an_election_is_told(
    s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.3).campaign()
    unkeep(term)
    successor = await s2.election("it").campaign(5)
    history = await s2.election("it").history()
    assert [type(change) for change in history] == [Elected, Vacant, Elected]
    lost = history[1]
    assert isinstance(lost, Vacant)
    assert (lost.identity, lost.token, lost.how) == (s.identity, term.token, "lost")
    await successor.resign()
    with pytest.raises(LeadershipLost):
        await term.resign()


async def test_pauses_are_told(s: AsyncSession, s2: AsyncSession) -> None:
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Vacant
    await s.election("it").pause(reason="upgrade")
    kind, paused = await told(observing)
    assert kind is Paused
    assert (paused.identity, paused.why) == (s.identity, "upgrade")
    await s.election("it").resume()
    kind, unpaused = await told(observing)
    assert kind is Unpaused
    assert unpaused.identity == s.identity
    await s.election("it").pause(0.1)
    assert (await told(observing))[0] is Paused
    kind, unpaused = await told(observing)
    assert (kind, unpaused.identity) == (Unpaused, ""), "by itself"
    await observing.aclose()


# -- what is remembered --------------------------------------------------------------------


@everywhere
async def test_the_history_says_who_when_and_why(s: AsyncSession) -> None:
    election = s.election("it")
    assert await election.history() == []
    async with election.campaign(meta={"n": 1}) as term:
        began = time.time()
    await (await election.campaign()).resign(reason="tired")
    elected, resigned, _, tired = await election.history()
    assert isinstance(elected, Elected)
    assert isinstance(resigned, Vacant)
    assert isinstance(tired, Vacant)
    assert elected.leader.meta == {"n": 1}
    assert (elected.leader.token, resigned.token) == (term.token, term.token)
    assert abs(elected.leader.since - began) < 5
    assert elected.leader.since <= resigned.at
    assert (resigned.how, resigned.why, tired.why) == ("resigned", "", "tired")
    assert resigned.identity == s.identity


@on_redis
async def test_the_history_is_bounded_and_does_not_stay_for_ever(
    place: Place, s: AsyncSession
) -> None:
    election = s.election("it")
    for _ in range(80):
        await (await election.campaign()).resign()
    assert len(await election.history()) == 128
    assert 0 < place.raw.ttl(history_of(s)) <= 90 * 86_400


@on_redis
async def test_what_was_not_remembered_long_enough_is_told_to_be_missed(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    first = await s.election("it").campaign()
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Elected
    await first.resign()
    last = first.token
    for _ in range(80):
        async with s.election("it").campaign() as term:
            last = term.token
    assert await told(observing) == (Missed, Missed(first.token))
    terms = [(await told(observing))[2] for _ in range(129)]
    assert terms == sorted(terms)
    assert terms[-1] == last
    await observing.aclose()


@on_redis_and_fake
async def test_after_a_loss_of_data_what_is_true_is_told(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    first = await s.election("it").campaign()
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Elected
    place.raw.delete(keys_of(s.election("it")).lock, history_of(s))
    await api.sleep(0.002)  # ids in a history are ms: a new one begins with another
    second = await s2.election("it").campaign()
    assert await told(observing) == (Missed, Missed(first.token))
    assert await told(observing) == (Vacant, s.identity, first.token, "lost", "")
    assert await told(observing) == (Elected, s2.identity, second.token)
    await second.resign()
    await observing.aclose()
    with pytest.raises(LeadershipLost):
        await first.resign()


# -- silence -------------------------------------------------------------------------------


@on_redis
async def test_a_change_while_the_line_was_lost_is_seen_within_two_seconds(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """The notification connection is killed, and the change published meanwhile."""
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Vacant
    for _ in range(5):
        later = api.start(told(observing))
        await heard(api, place, s)
        place.raw.client_kill_filter(_type="pubsub")
        began = time.monotonic()
        term = await s.election("it").campaign()
        assert await later == (Elected, s.identity, term.token)
        assert time.monotonic() - began <= 2.0
        await term.resign()
        assert (await told(observing))[0] is Vacant
    await observing.aclose()


@pytest.mark.slow
async def test_an_outage_is_told_and_what_changed_meanwhile(
    api: Api, namespace: str
) -> None:
    with RedisServer(persistence="always") as server:
        session = api.session(server.url, namespace=namespace, timeout=0.3)
        peer = api.session(server.url, namespace=namespace, timeout=0.3)
        term = await peer.election("it", ttl=30).campaign()
        observing = session.election("it").observe()
        assert (await told(observing))[0] is Elected
        later = api.start(told(observing))
        await heard(api, RedisPlace(server), session)
        server.kill()
        assert (await later)[0] is Suspended
        server.restart()
        await api.until(lambda: _resigned(term))
        assert (await told(observing))[0] is Resumed
        assert await told(observing) == (
            *(Vacant, peer.identity, term.token),
            *("resigned", "upgrade"),
        )
        await observing.aclose()


async def _resigned(term: Any) -> bool:
    try:
        await term.resign(reason="upgrade")
    except CoordError:
        return False
    return True


@pytest.mark.slow
async def test_a_silent_server_is_told_and_that_it_speaks_again(
    api: Api, namespace: str
) -> None:
    with RedisServer() as server:
        session = api.session(server.url, namespace=namespace, timeout=0.3)
        observing = session.election("it").observe()
        assert (await told(observing))[0] is Vacant
        server.pause()
        try:
            kind, suspended = await told(observing)
            assert kind is Suspended
            assert str(server.port) in suspended.why
        finally:
            server.resume()
        assert (await told(observing))[0] is Resumed
        term = await lead(session.election("it"))
        assert (await told(observing))[0] is Elected
        await term.resign()
        await observing.aclose()


@on_redis_and_fake
async def test_something_else_at_its_keys_is_an_error_not_a_silence(
    place: Place, s: AsyncSession
) -> None:
    place.raw.set(history_of(s), "not ours")
    with pytest.raises(KeyConflict):
        await anext(s.election("it").observe())
    place.raw.delete(history_of(s))
    place.raw.xadd(history_of(s), {"not": "ours"})
    for ask in (s.election("it").history(), anext(s.election("it").observe())):
        with pytest.raises(KeyConflict, match="of the election 'it' is not ours"):
            await ask
    assert await s.election("it").leader() is None


@on_redis
async def test_who_observes_asks_seldom(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it").campaign()
    observing = s2.election("it").observe()
    assert (await told(observing))[0] is Elected
    later = api.start(told(observing))
    await heard(api, place, s)
    before = place.asked()
    await api.sleep(2.0)
    assert place.asked() - before <= 2
    await term.resign()
    assert (await later)[0] is Vacant
