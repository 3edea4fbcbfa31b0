"""A server that does not answer: holders know in time, callers are told in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from contract.flavours import Api
from coordkit import (
    AsyncLease,
    AsyncSession,
    LeaseLost,
    Reason,
    State,
    Unreachable,
)
from faults.conftest import CALL
from faults.network import mute, refusing, unconnectable
from faults.ruler import Ruler
from support.history import now
from support.proxy import Proxy
from support.servers import HOST, RedisServer

#: how far from its deadline a loss may be told
PRECISION = 0.05
ASYNCIO = pytest.mark.parametrize("api", ["async"], indirect=True)


def black_hole(proxy: Proxy, server: RedisServer) -> None:
    proxy.black_hole()


def freeze(proxy: Proxy, server: RedisServer) -> None:
    server.pause()


silences = pytest.mark.parametrize("fall_silent", [black_hole, freeze])


# -- of a holder -----------------------------------------------------------------------


@silences
async def test_lost_is_told_at_the_deadline(
    s: AsyncSession,
    proxy: Proxy,
    server: RedisServer,
    fall_silent: Callable[[Proxy, RedisServer], None],
) -> None:
    lease = await s.lock("it", ttl=0.5).acquire()
    fall_silent(proxy, server)
    with Ruler() as ruler:
        assert await lease.lost.wait(5)
        late = now() - lease.deadline
    assert -PRECISION <= late <= PRECISION + ruler.worst
    assert lease.lost.is_set()
    assert lease.reason is Reason.EXPIRED
    assert (lease.held, lease.remaining(), lease.state) == (False, 0.0, State.LOST)
    with pytest.raises(LeaseLost, match="'it'") as lost:
        lease.check()
    assert lost.value.reason is Reason.EXPIRED
    server.resume()
    proxy.heal(deliver=False)


async def test_all_who_wait_for_the_loss_are_told(
    api: Api, s: AsyncSession, proxy: Proxy
) -> None:
    leases = [await s.lock(f"{n}", ttl=0.5).acquire() for n in range(5)]
    proxy.black_hole()

    async def late(lease: AsyncLease) -> float:
        assert await lease.lost.wait(5)
        return now() - lease.deadline

    with Ruler() as ruler:
        worst = max(await api.all(*(late(lease) for lease in leases * 3)))
    assert worst <= PRECISION + ruler.worst
    proxy.heal(deliver=False)


@ASYNCIO
async def test_the_body_is_cancelled_at_the_deadline(
    s: AsyncSession, proxy: Proxy
) -> None:
    stopped: list[float] = []

    async def work() -> None:
        async with s.lock("it", ttl=0.5).acquire() as lease:
            proxy.black_hole()
            try:
                await asyncio.sleep(10)
            finally:
                stopped.append(now() - lease.deadline)

    with pytest.raises(LeaseLost) as lost, Ruler() as ruler:
        await work()
    assert -PRECISION <= stopped[0] <= PRECISION + ruler.worst
    assert lost.value.reason is Reason.EXPIRED
    assert isinstance(lost.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "the cancellation was ours, and is over"
    proxy.heal(deliver=False)


@ASYNCIO
async def test_leaving_a_lost_body_does_not_wait_for_a_silent_server_for_long(
    s: AsyncSession, proxy: Proxy
) -> None:
    async def work() -> None:
        async with s.lock("it", ttl=0.5).acquire():
            proxy.black_hole()
            await asyncio.sleep(10)

    with Ruler() as ruler:
        with pytest.raises(LeaseLost):
            await work()
        # a fifth of the ttl for each question, of which a release asks up to three
        ruler.within(0.5 + 3 * 0.5 / 5 + 0.15)
    proxy.heal(deliver=False)


@pytest.mark.parametrize("api", ["sync"], indirect=True)
async def test_a_blocking_body_is_told_when_it_leaves(
    api: Api, s: AsyncSession, proxy: Proxy
) -> None:
    async def work() -> None:
        async with s.lock("it", ttl=0.5).acquire():
            proxy.black_hole()
            await api.sleep(0.6)
            proxy.heal(deliver=False)

    with pytest.raises(LeaseLost) as lost:
        await work()
    assert lost.value.reason is Reason.EXPIRED


@silences
async def test_a_silence_shorter_than_the_ttl_costs_nothing(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    proxy: Proxy,
    server: RedisServer,
    fall_silent: Callable[[Proxy, RedisServer], None],
) -> None:
    lease = await s.lock("it", ttl=1.5).acquire()
    fall_silent(proxy, server)
    await api.until(lambda: lease.state is State.AT_RISK)
    assert lease.held
    server.resume()
    proxy.heal()
    await api.until(lambda: lease.state is State.HELD, timeout=lease.remaining())
    assert not lease.lost.is_set()
    seen = await peer.lock("it").info()
    assert seen is not None
    assert seen.token == lease.token
    await lease.release()


async def test_a_renewal_that_ends_after_the_deadline_revives_nothing(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy
) -> None:
    """The answer "kept" arrives, but the holder has stopped to believe."""
    lease = await s.lock("it", ttl=0.5).acquire()
    proxy.black_hole()
    assert await lease.lost.wait(5)
    proxy.heal()
    await api.sleep(0.2)
    assert lease.lost.is_set()
    assert lease.state is State.LOST
    async with peer.lock("it").acquire(timeout=2) as successor:
        assert successor.token > lease.token
        assert not lease.held


async def test_a_mute_new_connection_costs_a_renewal_no_more_than_a_question(
    api: Api, proxy: Proxy
) -> None:
    """
    The keeper has to connect again, and its greeting gets no answer.

    The session's time-out is for callers: what a renewal may take, the ttl says.
    """
    session = api.session(proxy.url)
    lease = await session.lock("it", ttl=1.2).acquire()
    await api.until(lambda: proxy.commands["EVALSHA"] > 1)  # the keeper is connected
    began = lease.deadline
    proxy.lose_reply(match=b"SETINFO", close=False)
    proxy.cut()
    await api.until(lambda: proxy.struck["silenced"] or lease.lost.is_set())
    await api.until(lambda: lease.deadline > began + 1.2 or lease.lost.is_set())
    assert not lease.lost.is_set()
    await lease.release()


# -- of a caller -----------------------------------------------------------------------


@contextmanager
def nowhere() -> Generator[int]:
    yield 0


#: how a server cannot be reached, and the host to ask
PLACES = {
    "refused": (refusing, HOST),
    "mute": (mute, HOST),
    "black-holed": (unconnectable, HOST),
    "wrong host": (nowhere, "no-such-host.invalid"),
}
Place = Callable[[], AbstractContextManager[int]]
places = pytest.mark.parametrize(("place", "host"), PLACES.values(), ids=PLACES.keys())


def told_by(error: BaseException) -> str:
    """Return all that a reader of the error sees of it, but for its cause."""
    return "\n".join([str(error), repr(error), *getattr(error, "__notes__", [])])


@places
async def test_an_unreachable_server_is_one_clear_error_in_time(
    api: Api, place: Place, host: str
) -> None:
    with place() as port, Ruler() as ruler:
        where = f"{host}:{port or 6379}"
        session = api.session(f"redis://user:geheim@{where}/0", timeout=CALL)
        lock = session.lock("it")

        async def acquire() -> None:
            await lock.acquire(timeout=0.4)

        async def fails(
            question: Callable[[], Awaitable[object]], limit: float
        ) -> None:
            with pytest.raises(Unreachable) as raised:
                await question()
            ruler.within(limit + 0.25)
            told = told_by(raised.value)
            assert where in told
            assert "geheim" not in told + repr(session)
            assert isinstance(raised.value, ConnectionError)

        await api.all(
            fails(acquire, 0.4 + CALL),
            # asks once more when an answer was lost, then takes it back
            fails(lock.try_acquire, 3 * CALL),
            fails(lock.info, CALL),
            fails(session.locks, CALL),
            fails(session.ping, CALL),
        )


@places
async def test_the_error_says_what_went_wrong(
    api: Api, place: Place, host: str
) -> None:
    with place() as port:
        session = api.session(f"redis://{host}:{port or 6379}/0", timeout=0.2)
        with pytest.raises(Unreachable) as raised:
            await session.ping()
        why = str(raised.value).partition("/0")[2].strip(": ")
        assert why, f"no reason given: {raised.value!r}"
        # Whatever redis-py raised is for the debugger, not for the caller.
        assert raised.value.__cause__ is not None


@pytest.mark.parametrize("question", ["info", "fence", "try_acquire", "acquire"])
async def test_the_sessions_timeout_bounds_each_question(
    api: Api, proxy: Proxy, question: str
) -> None:
    """An established connection falls silent: each question ends as was promised."""
    session = api.session(proxy.url, timeout=0.2)
    lock, fence = session.lock("it"), session.fence("it")
    await session.ping()
    proxy.black_hole()

    async def ask() -> None:
        match question:
            case "info":
                await lock.info()
            case "fence":
                await fence.seen()
            case "try_acquire":
                await lock.try_acquire()
            case _:
                await lock.acquire(timeout=0.1)

    questions = {"info": 1, "fence": 1, "try_acquire": 3, "acquire": 2}[question]
    with Ruler() as ruler:
        with pytest.raises(Unreachable):
            await ask()
        ruler.within(questions * 0.2 + 0.2)
    proxy.heal(deliver=False)


@pytest.mark.parametrize("outage", ["refused", "restarted"])
async def test_acquire_rides_out_an_outage(
    api: Api, s: AsyncSession, proxy: Proxy, server: RedisServer, outage: str
) -> None:
    if outage == "refused":
        proxy.refuse()
    else:
        server.kill()

    async def acquire() -> AsyncLease:
        return await s.lock("it").acquire(timeout=8)

    acquiring = api.start(acquire())
    await api.sleep(1.0 if outage == "restarted" else 0.4)
    assert not acquiring.done()
    if outage == "restarted":
        server.restart()
    proxy.heal(deliver=False)
    with Ruler() as ruler:
        lease = await acquiring
        ruler.within(0.5 + CALL)  # the longest pause, and a question that was lost
    assert lease.held
    await lease.release()


async def test_a_waiter_rides_out_an_outage_shorter_than_the_ttl(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy
) -> None:
    """It keeps neither its place nor a promise of when, but it gets the lock."""
    lease = await peer.lock("it", ttl=5).acquire()

    async def acquire() -> AsyncLease:
        return await s.lock("it", ttl=5, waiter_ttl=1).acquire(timeout=10)

    acquiring = api.start(acquire())
    await api.sleep(0.2)
    proxy.refuse()
    proxy.cut()
    await api.sleep(0.8)
    assert not acquiring.done()
    await lease.release()
    proxy.heal()
    successor = await acquiring
    assert successor.token > lease.token
    await successor.release()


async def test_an_outage_of_a_whole_ttl_is_reported(api: Api, proxy: Proxy) -> None:
    """Acquire without a limit does not insist for ever: silence is not "wait"."""
    session = api.session(proxy.url)
    await session.ping()
    proxy.black_hole()
    with Ruler() as ruler:
        with pytest.raises(Unreachable):
            await session.lock("it", ttl=0.6).acquire()
        ruler.within(0.6 + 2 * 0.6 / 5 + 0.3)
    proxy.heal(deliver=False)
