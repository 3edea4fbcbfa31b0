"""An election on a bad day: wrong arguments, foreign keys, a full or lost server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import on_redis, on_redis_and_fake
from contract.places import Place, keys_of, lead, promptly
from contract.test_server_state import foreign, full
from coordkit import (
    AsyncElection,
    AsyncSession,
    AsyncTerm,
    CoordError,
    KeyConflict,
    LeadershipLost,
    Reason,
    Refused,
    State,
    Suspended,
    Unreachable,
)
from coordkit._core.keys import history_key
from coordkit._io.clock import now
from support.servers import RedisServer

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
def nowhere(api: Api) -> AsyncSession:
    """Return a session whose every question fails: so no question was asked."""
    return api.session(NOWHERE, timeout=0.1)


# -- wrong arguments ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ttl": 0}, "ttl=0 is not between 0.05 and 604800 s"),
        ({"ttl": 5, "renew_deadline": 5}, "renew_deadline=5 s must be less than ttl=5"),
        (
            {"renew_every": timedelta(seconds=10)},
            r"renew_every=10 s, which .* 11 s, must be less than renew_deadline=10 s",
        ),
        ({"max_term": 5}, "max_term=5 s must not be less than ttl=15 s"),
        ({"handover_delay": -1}, "handover_delay=-1 is not between 0 and 604800 s"),
        ({"waiter_ttl": 0}, "waiter_ttl=0 is not between 0.1 and 60 s"),
    ],
)
async def test_times_that_cannot_be(
    nowhere: AsyncSession, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nowhere.election("it", **given)


async def test_wrong_arguments_are_refused_before_anything_is_sent(
    nowhere: AsyncSession,
) -> None:
    election, wrong = nowhere.election("it"), "two\nlines"
    anything: Any = True
    with pytest.raises(ValueError, match="name '' is 0 bytes long"):
        nowhere.election("")
    with pytest.raises(ValueError, match="priority=101 is not between -100 and 100"):
        await election.campaign(priority=101)
    with pytest.raises(TypeError, match="a priority is an int, not bool: True"):
        await election.campaign(priority=anything)
    with pytest.raises(ValueError, match="timeout=-1 is not between 0 and"):
        await election.campaign(-1)
    with pytest.raises(ValueError, match="meta cannot be stored as JSON"):
        await election.campaign(meta={"x": object()})
    asks: list[Callable[[], Awaitable[Any]]] = [
        lambda: election.revoke(identity=""),
        lambda: election.revoke(reason=wrong),
        lambda: election.transfer(""),
        lambda: election.transfer("w1", reason=wrong),
        lambda: election.pause(0),
        lambda: election.pause(reason=wrong),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match=r"identity|reason|lasting"):
            await ask()


async def test_a_reason_that_is_none_keeps_the_term(s: AsyncSession) -> None:
    term = await s.election("it").campaign()
    with pytest.raises(ValueError, match=r"reason 'two.nlines' contains"):
        await term.resign(reason="two\nlines")
    term.check()
    await term.resign()


# -- somebody else's keys ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lock", "queue", "holders", "fence", "index"])
@on_redis_and_fake
async def test_something_else_is_at_one_of_its_keys(
    place: Place, s: AsyncSession, kind: str
) -> None:
    election = s.election("it")
    keys = keys_of(election)
    with foreign(place, getattr(keys, kind)):
        with pytest.raises(KeyConflict, match="another kind of value"):
            await election.campaign(timeout=0.1)
        with pytest.raises(KeyConflict, match="another kind of value"):
            await election.campaign(timeout=0)
        others = {"lock", "queue", "alive", "holders"} - {kind}
        assert not any(place.raw.exists(getattr(keys, other)) for other in others)
    await (await election.campaign(0)).resign()


@on_redis_and_fake
async def test_something_else_is_where_its_history_goes(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Nobody is elected of whom nobody could know; who leads may resign."""
    election = s.election("it")
    term = await election.campaign()
    history = history_key(s.namespace, "it")
    with foreign(place, history):
        await term.resign()
        for ask in (
            lambda: s2.election("it").campaign(0),
            lambda: s2.election("it").pause(),
            lambda: s2.election("it").history(),
        ):
            with pytest.raises(KeyConflict, match="another kind of value"):
                await ask()
        assert place.untouched(election)
    await (await s2.election("it").campaign(0)).resign()


@on_redis_and_fake
async def test_something_else_is_where_one_would_look(
    place: Place, s: AsyncSession
) -> None:
    election = s.election("it")
    with foreign(place, keys_of(election).lock):
        for ask in (election.leader, election.info, election.revoke, election.pause):
            with pytest.raises(KeyConflict):
                await ask()
    with foreign(place, keys_of(election).index), pytest.raises(KeyConflict):
        await s.elections()


# -- it is full ----------------------------------------------------------------------------


@on_redis
async def test_a_full_server(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Nobody new is elected, who leads can go on and resign, and who waits follows."""
    election = s2.election("it", waiter_ttl=40)
    term = await s.election("it", ttl=0.6).campaign()
    paused = await s.election("paused", ttl=0.6).campaign()
    waiter = api.start(lead(election))
    await api.until(lambda: place.waiting(election) == 1)
    with full(place):
        with pytest.raises(Refused, match="out of memory"):
            await s2.election("new").campaign()
        await term.renew()
        deadline = term.deadline
        await api.until(lambda: term.deadline > deadline)
        await term.resign(reason="it is full")
        successor = await promptly(waiter)
        await s2.election("paused").pause()
        with pytest.raises(LeadershipLost):
            await paused.renew()
        with pytest.raises(LeadershipLost):
            await paused.resign()
        assert (await s2.election("paused").info()).state == "paused"
        await s2.election("paused").resume()
        await successor.resign()
    history = await election.history()
    assert [type(change).__name__ for change in history] == ["Elected", "Vacant"] * 2


# -- it is away ----------------------------------------------------------------------------


async def test_nobody_is_there(nowhere: AsyncSession) -> None:
    election = nowhere.election("it", ttl=0.5)
    for ask in (
        lambda: election.campaign(0),
        lambda: election.campaign(0.2),
        election.campaign,
        election.leader,
        election.info,
        election.history,
        lambda: election.transfer("w1"),
        election.pause,
    ):
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            await ask()
    assert isinstance(await anext(election.observe()), Suspended)


@pytest.mark.slow
async def test_the_server_is_away_for_a_while(api: Api, namespace: str) -> None:
    """Who leads and who waits rides it out, if it was for less than renew_deadline."""
    with RedisServer(persistence="always") as server:
        a, b = (
            api.session(server.url, namespace=namespace, timeout=0.3) for _ in range(2)
        )
        term = await a.election("it", ttl=9).campaign()
        election = b.election("it", ttl=9, waiter_ttl=1)
        waiter = api.start(lead(election, timeout=15))
        server.kill()
        await api.sleep(0.3)
        server.restart()
        deadline = term.deadline
        await api.until(lambda: term.deadline > deadline, timeout=8)
        assert term.state is State.HELD
        await term.resign()
        successor = await waiter
        assert successor.token > term.token
        await successor.resign()


@pytest.mark.slow
async def test_the_server_is_away_for_too_long(api: Api, namespace: str) -> None:
    """The leader steps down by its own clock; a campaign ends by its ttl, and leaves nothing."""
    with RedisServer(persistence="always") as server:
        a, b = (
            api.session(server.url, namespace=namespace, timeout=0.2) for _ in range(2)
        )
        term = await a.election("it", ttl=1.2).campaign()
        election = b.election("it", ttl=1.2)
        waiter = api.start(lead_or_tell(election))
        with server.client(decode_responses=True) as raw:
            queue = keys_of(election).queue
            await api.until(lambda: raw.zcard(queue) == 1)
        server.kill()
        assert await term.lost.wait(5)
        assert now() >= term.deadline
        assert term.reason is Reason.EXPIRED
        with pytest.raises(CoordError):
            await term.resign()
        told = await waiter
        assert isinstance(told, Unreachable)
        server.restart()
        with server.client(decode_responses=True) as raw:
            # What was given up is taken back as soon as the server answers again.
            await api.until(lambda: raw.zcard(queue) == 0)
        await (await lead(election)).resign()


async def lead_or_tell(election: AsyncElection) -> AsyncTerm | CoordError:
    try:
        return await election.campaign()
    except CoordError as told:
        return told


@on_redis_and_fake
async def test_the_server_loses_its_data(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Terms rise all the same, and the old leader is told."""
    term = await s.election("it", ttl=0.6).campaign()
    place.lose_data()
    successor = await s2.election("it").campaign()
    assert successor.token > term.token
    assert await term.lost.wait(5)
    assert term.reason in (Reason.STOLEN, Reason.DATA_LOST)
    with pytest.raises(LeadershipLost):
        await term.resign()
    leader = await s.election("it").leader()
    assert leader is not None
    assert leader.token == successor.token
    await successor.resign()
