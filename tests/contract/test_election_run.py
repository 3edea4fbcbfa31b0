"""`Election.run`: elected again and again, and no work outlives its term."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from contract.flavours import Api, real
from contract.marks import everywhere, on_redis, only_async, only_sync
from contract.places import Place, keys_of, lead, unkeep
from coordkit import (
    AsyncElection,
    AsyncSession,
    AsyncTerm,
    LeadershipLost,
    NotHeld,
    Reason,
    Unreachable,
)


async def waiting(
    api: Api, place: Place, election: AsyncElection, number: int = 1
) -> None:
    """Wait until so many stand for election."""
    await api.until(lambda: place.waiting(election) == number)


async def until_lost(api: Api, term: AsyncTerm) -> None:
    """Work until the term is lost: a task is cancelled then, a thread looks."""
    while term.held or api.name == "async":
        await api.sleep(0.01)


@everywhere
async def test_what_is_done_is_returned_and_the_term_is_resigned(
    s: AsyncSession,
) -> None:
    async def work(term: AsyncTerm) -> str:
        assert term.held
        leader = await s.election("it").leader()
        assert leader is not None
        assert leader.token == term.token
        assert (leader.meta, leader.priority) == ({"n": 1}, 7)
        return "done"

    assert await s.election("it").run(work, 7, meta={"n": 1}) == "done"
    assert await s.election("it").leader() is None


@on_redis
async def test_who_is_not_done_is_elected_again(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """Others may lead in between."""
    terms: dict[str, list[int]] = {"a": [], "b": []}

    async def working(name: str, session: AsyncSession) -> Any:
        async def work(term: AsyncTerm) -> bool:
            terms[name].append(term.token)
            await api.sleep(0.02)
            return len(terms[name]) == 5

        return await session.election("it").run(work)

    assert await api.all(working("a", s), working("b", s2)) == [True, True]
    assert len(terms["a"]) == len(terms["b"]) == 5
    assert len({*terms["a"], *terms["b"]}) == 10


@on_redis
async def test_a_lost_term_is_followed_by_another(
    api: Api, place: Place, s: AsyncSession
) -> None:
    election = s.election("it", ttl=0.4)
    terms: list[int] = []
    reasons: list[Reason | None] = []

    async def work(term: AsyncTerm) -> bool:
        terms.append(term.token)
        if len(terms) == 1:
            place.raw.delete(keys_of(election).lock)
        if len(terms) == 2:
            unkeep(term)
        try:
            if len(terms) < 3:
                await until_lost(api, term)
                term.check()
            return True
        finally:
            reasons.append(term.reason)

    assert await election.run(work) is True
    assert reasons == [Reason.EVICTED, Reason.EXPIRED, None]
    assert terms == sorted(set(terms))


@on_redis
async def test_work_ends_before_the_term_is_resigned(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """Whatever it is told, a successor waits for it, up to the ttl."""
    happened: list[str] = []

    async def work(term: AsyncTerm) -> bool:
        try:
            await until_lost(api, term)
        finally:
            happened.append("cleaning up")
            await api.sleep(0.1)
            happened.append("ended")
        return False

    async def run() -> Any:
        return await s.election("it", ttl=1.5).run(work)

    running = api.start(run())
    election = s2.election("it", ttl=1.5, waiter_ttl=40)
    await api.until(election.leader)
    waiter = api.start(lead(election))
    await waiting(api, place, election)
    await election.revoke(reason="upgrade")
    successor = await waiter
    happened.append("elected")
    assert happened == ["cleaning up", "ended", "elected"]
    await waiting(api, place, election)  # it stands again
    await successor.resign()
    await api.until(election.leader)
    await stop(s, running)


async def stop(s: AsyncSession, running: Any) -> None:
    """End a `run` from outside: a task is cancelled, a thread's session is closed."""
    if isinstance(running, asyncio.Task):
        running.cancel()
        await asyncio.wait({running})
    else:
        await s.close()
        with pytest.raises((RuntimeError, NotHeld, LeadershipLost)):
            await running


@on_redis
async def test_what_it_raises_comes_out_and_the_term_is_resigned(
    s: AsyncSession,
) -> None:
    class Broken(Exception):
        pass

    async def work(term: AsyncTerm) -> None:
        raise Broken(str(term.token))

    with pytest.raises(Broken):
        await s.election("it").run(work)
    assert await s.election("it").leader() is None


@on_redis
async def test_the_loss_of_another_leadership_comes_out(
    place: Place, s: AsyncSession
) -> None:
    other = await s.election("other").campaign()
    other._end(Reason.STOLEN)

    async def work(_: AsyncTerm) -> None:
        other.check()

    with pytest.raises(LeadershipLost, match="'other'"):
        await s.election("it").run(work)
    assert await s.election("it").leader() is None


@on_redis
async def test_what_is_done_is_done_though_the_term_was_lost(
    place: Place, s: AsyncSession
) -> None:
    election = s.election("it")

    async def work(term: AsyncTerm) -> str:
        place.raw.delete(keys_of(election).lock)
        return "done"

    assert await election.run(work) == "done"


@on_redis
@only_async
async def test_cancelling_it_cancels_the_work_and_resigns(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    happened: list[str] = []

    async def work(_: AsyncTerm) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            happened.append("ended")

    running = asyncio.create_task(s.election("it").run(work))
    await api.until(s2.election("it").leader)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert happened == ["ended"]
    assert await s2.election("it").leader() is None


@on_redis
@only_async
async def test_cancelling_it_while_it_waits_leaves_nothing(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    async def work(_: AsyncTerm) -> None:
        raise AssertionError("it was never elected")

    async with s2.election("it").campaign():
        running = asyncio.create_task(s.election("it").run(work))
        await waiting(api, place, s.election("it"))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await waiting(api, place, s.election("it"), 0)


@on_redis
@only_sync
async def test_a_thread_that_does_not_look_has_its_ttl_at_most(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    go_on = threading.Event()

    async def stubborn(_: AsyncTerm) -> bool:
        go_on.wait(10)
        return True

    async def run() -> Any:
        return await s.election("it", ttl=0.5).run(stubborn)

    running = api.start(run())
    election = s2.election("it", ttl=0.5)
    await api.until(election.leader)
    await election.revoke()
    successor = await lead(election)
    go_on.set()
    assert await running is True
    await successor.resign()


@on_redis
async def test_an_outage_is_ridden_out(
    api: Api,
    s: AsyncSession,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Campaigning goes on, and says so."""
    election = s.election("it", ttl=0.4)
    inner: Any = real(election)
    campaign, tried = inner._campaign, []

    def failing(*args: Any) -> Any:
        tried.append(args)
        if len(tried) < 3:
            raise Unreachable("nobody is there")
        return campaign(*args)

    monkeypatch.setattr(inner, "_campaign", failing)
    caplog.set_level(logging.WARNING, "coordkit")

    async def work(_: AsyncTerm) -> str:
        return "done"

    assert await election.run(work) == "done"
    told = [record.getMessage() for record in caplog.records]
    assert told == ["campaigning for 'it' goes on: nobody is there"] * 2
