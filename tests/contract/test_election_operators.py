"""What an operator asks of an election: to resign, to hand over, to pause."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api, Started, real, run
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place, keys_of, lead, promptly, unkeep
from coordkit import (
    AsyncElection,
    AsyncSession,
    AsyncTerm,
    LeadershipLost,
    LockTimeout,
    NoCandidate,
    NoLeader,
    NotHeld,
    Reason,
)
from coordkit._core.lock import acquire_call
from coordkit._core.ops import Op


async def waiting(
    api: Api, place: Place, election: AsyncElection, number: int = 1
) -> None:
    """Wait until so many stand for election."""
    await api.until(lambda: place.waiting(election) == number)


async def revoked(term: AsyncTerm) -> None:
    """Wait until it hears that it is to resign, and do so."""
    assert await term.lost.wait(5)
    assert term.reason is Reason.REVOKED
    with pytest.raises(LeadershipLost, match="asked to let go"):
        await term.resign()


class Crew:
    """Sessions of their own names, on one election."""

    def __init__(
        self, api: Api, place: Place, namespace: str, ttl: float = 0.6
    ) -> None:
        self._api = api
        self._place = place
        self._namespace = namespace
        self._ttl = ttl
        self.started: dict[str, Started[AsyncTerm]] = {}

    def of(self, name: str) -> AsyncElection:
        session = self._api.session(
            self._place.where(self._api), namespace=self._namespace, identity=name
        )
        return session.election("it", ttl=self._ttl)

    async def stand(self, name: str, **how: Any) -> None:
        """Have one more stand for election."""
        election = self.of(name)
        self.started[name] = self._api.start(lead(election, **how))
        await waiting(self._api, self._place, election, len(self.started))


@pytest.fixture
def crew(api: Api, place: Place, namespace: str) -> Crew:
    return Crew(api, place, namespace)


# -- resign --------------------------------------------------------------------------------


@everywhere
async def test_the_leader_is_asked_to_resign(s: AsyncSession, s2: AsyncSession) -> None:
    term = await s.election("it", ttl=1.5).campaign()
    asked = await s2.election("it").revoke(reason="upgrade")
    assert asked is not None
    assert (asked.identity, asked.token) == (s.identity, term.token)
    await revoked(term)
    *_, last = await s2.election("it").history()
    assert (last.how, last.why) == ("resigned", "upgrade")  # type: ignore[union-attr]  # a Vacant
    assert await s2.election("it").revoke() is None, "nobody leads"


@on_redis
async def test_only_the_one_that_was_meant_is_asked(
    s: AsyncSession, s2: AsyncSession
) -> None:
    election = s2.election("it")
    with pytest.raises(NotHeld, match="'him' does not lead; nobody does"):
        await election.revoke(identity="him")
    async with s.election("it").campaign() as term:
        with pytest.raises(NotHeld, match=f"'him' does not lead; '{s.identity}' does"):
            await election.revoke(identity="him")
        await term.renew()
    term = await s.election("it").campaign()
    asked = await election.revoke(identity=s.identity)
    assert asked is not None
    with pytest.raises(LeadershipLost, match="asked to let go"):
        await term.renew()
    with pytest.raises(LeadershipLost):
        await term.resign()


@on_redis
async def test_one_that_does_not_resign_has_lost_it_by_the_ttl(
    s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.6).campaign()
    await s2.election("it").revoke()
    began = time.monotonic()
    successor = await s2.election("it").campaign(5)
    assert time.monotonic() - began < 0.6 + 0.5
    with pytest.raises(LeadershipLost):
        await term.resign()
    await successor.resign()


# -- transfer --------------------------------------------------------------------------------


@everywhere
async def test_the_leadership_goes_to_who_was_named(
    s: AsyncSession, crew: Crew
) -> None:
    """However low its priority, and whoever waits longer."""
    term = await s.election("it", ttl=0.6).campaign()
    await crew.stand("first", priority=5)
    await crew.stand("heir", priority=-5)
    await crew.stand("third", priority=50)
    asked = await s.election("it").transfer("heir")
    assert (asked.identity, asked.token) == (s.identity, term.token)
    assert [c.identity for c in await s.election("it").candidates()] == [
        *("heir", "third", "first")
    ]
    await revoked(term)
    heir = await promptly(crew.started["heir"])
    history = await s.election("it").history()
    resigned = history[-2]
    assert resigned.why == f"transferred to heir by {s.identity}"  # type: ignore[union-attr]  # a Vacant
    await heir.resign()
    for name in ("third", "first"):
        await (await promptly(crew.started[name])).resign()


@on_redis_and_fake
async def test_the_last_transfer_counts(
    api: Api, place: Place, s: AsyncSession, crew: Crew
) -> None:
    term = await s.election("it", ttl=0.6).campaign()
    for name in ("a", "b", "c"):
        await crew.stand(name)
    for name in ("b", "c", "c"):
        await s.election("it").transfer(name, reason="try again")
    assert [c.identity for c in await s.election("it").candidates()] == ["c", "b", "a"]
    await revoked(term)
    for name in ("c", "b", "a"):
        await (await promptly(crew.started[name])).resign()


@everywhere
async def test_to_nobody(s: AsyncSession, crew: Crew) -> None:
    election = s.election("it", ttl=0.6)
    with pytest.raises(NoLeader, match="nobody leads 'it' who could hand it over"):
        await election.transfer("heir")
    async with election.campaign() as term:
        with pytest.raises(NoCandidate, match="there is no candidate"):
            await election.transfer("heir")
        await crew.stand("other")
        with pytest.raises(NoCandidate, match="the candidates are 'other'"):
            await election.transfer("heir")
        asked = await election.transfer(s.identity)
        assert asked.token == term.token, "it leads already"
        await term.renew()
    await (await crew.started["other"]).resign()


@on_redis_and_fake
async def test_to_one_of_two_of_that_name(
    api: Api, place: Place, s: AsyncSession, crew: Crew
) -> None:
    async with s.election("it").campaign() as term:
        await crew.stand("twin")
        second = api.start(lead(crew.of("twin")))
        await waiting(api, place, s.election("it"), 2)
        with pytest.raises(NoCandidate, match="several candidates are called so"):
            await s.election("it").transfer("twin")
        await term.renew()
    await (await crew.started["twin"]).resign()
    await (await second).resign()


# -- pause -----------------------------------------------------------------------------------


@everywhere
async def test_while_it_is_paused_nobody_leads(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    election = s2.election("it", ttl=0.6, waiter_ttl=40)
    assert await election.pause(reason="upgrade") is None
    info = await election.info()
    assert (info.state, info.leader) == ("paused", None)
    assert (info.paused_by, info.reason) == (s2.identity, "upgrade")
    with pytest.raises(LockTimeout):
        await s.election("it").campaign(0, 100, preempt=True)
    waiter = api.start(lead(election))
    await waiting(api, place, election)
    await api.sleep(0.7)
    assert not waiter.done()
    assert await election.leader() is None
    await s.election("it").resume()
    term = await promptly(waiter)
    assert (await election.info()).state == "led"
    await term.resign()
    await s.election("it").resume()
    assert (await election.info()).state == "vacant"


@everywhere
async def test_a_leader_steps_down_for_a_pause_and_nobody_follows(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.6).campaign()
    waiter = api.start(lead(s2.election("it", ttl=0.6)))
    await waiting(api, place, s.election("it"))
    leader = await s2.election("it").pause()
    assert leader is not None
    assert leader.token == term.token
    info = await s2.election("it").info()
    assert (info.state, info.paused_by) == ("led", s2.identity)
    await revoked(term)
    assert (await s2.election("it").info()).state == "paused"
    await api.sleep(0.7)
    assert not waiter.done()
    await s2.election("it").resume()
    await (await promptly(waiter)).resign()
    whats = [type(change).__name__ for change in await s.election("it").history()]
    assert whats == [
        *("Elected", "Paused", "Vacant", "Unpaused", "Elected", "Vacant"),
    ]


@on_redis_and_fake
async def test_a_leader_that_died_during_a_pause_has_no_successor(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.4).campaign()
    unkeep(term)
    await s2.election("it").pause()
    await api.sleep(0.5)
    assert (await s2.election("it").info()).state == "paused"
    with pytest.raises(LockTimeout):
        await s2.election("it").campaign(0)
    await s2.election("it").resume()
    await (await s2.election("it").campaign(0)).resign()
    with pytest.raises(LeadershipLost):
        await term.resign()


@on_redis_and_fake
async def test_a_pause_may_end_by_itself(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    election = s2.election("it", waiter_ttl=40)
    await s.election("it").pause(0.4)
    began = time.monotonic()
    term = await election.campaign(10)
    assert 0.2 < time.monotonic() - began < 0.4 + 0.5
    await term.resign()


@on_redis
async def test_a_pause_that_is_shorter_than_the_term_left(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """The seat is free when the lease ends, not before."""
    term = await s.election("it", ttl=0.8).campaign()
    unkeep(term)
    await s2.election("it").pause(0.05)
    began = time.monotonic()
    successor = await s2.election("it", waiter_ttl=40).campaign(10)
    assert time.monotonic() - began > 0.5
    await successor.resign()
    with pytest.raises(LeadershipLost):
        await term.resign()


@on_redis
async def test_pausing_twice_and_resuming_while_the_leader_still_leads(
    s: AsyncSession, s2: AsyncSession
) -> None:
    term = await s.election("it", ttl=0.6).campaign()
    election = s2.election("it")
    for reason in ("first", "second"):
        await election.pause(reason=reason)
    assert (await election.info()).reason == "second"
    await election.resume()
    info = await election.info()
    assert (info.state, info.paused_by) == ("led", "")
    await revoked(term)
    assert (await election.info()).state == "vacant"
    whats = [type(change).__name__ for change in await election.history()]
    assert whats == ["Elected", "Paused", "Unpaused", "Vacant"]


@on_redis
async def test_a_campaign_whose_answer_was_lost_does_not_end_a_pause(
    place: Place, s: AsyncSession
) -> None:
    """Asked again by its holder, the lock gets its ttl anew; a pause has none."""
    election = s.election("it")
    term = await election.campaign()
    await election.pause()
    again = acquire_call(real(term)._claim, term.holder, queue=False)

    def ask() -> Op[Any]:
        reply = yield again
        return reply.value[0]

    assert await run(s, ask()) == b"taken"
    assert place.raw.ttl(keys_of(election).lock) == -1
    with pytest.raises(LeadershipLost):
        await term.renew()
    with pytest.raises(LeadershipLost):
        await term.resign()
    assert (await election.info()).state == "paused"


# -- all of them -----------------------------------------------------------------------------


@everywhere
async def test_every_election_of_the_namespace_is_listed(
    s: AsyncSession, s2: AsyncSession, elsewhere: AsyncSession
) -> None:
    assert await s.elections() == []
    async with (
        s.election("led").campaign() as term,
        elsewhere.election("theirs").campaign(),
        s.lock("a lock").acquire(),
    ):
        await (await s.election("vacant").campaign()).resign()
        await s.election("paused").pause()
        found = await s2.elections()
        assert [(info.name, info.state) for info in found] == [
            *(("led", "led"), ("paused", "paused"), ("vacant", "vacant")),
        ]
        assert found[0].leader is not None
        assert found[0].leader.token == term.token


@on_redis_and_fake
async def test_what_is_not_ours_hides_no_election(
    place: Place, s: AsyncSession
) -> None:
    for name in ("a", "b"):
        await (await s.election(name).campaign()).resign()
    place.raw.set(keys_of(s.election("a")).lock, "not ours")
    assert [info.name for info in await s.elections()] == ["b"]
