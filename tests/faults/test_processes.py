"""Processes that are killed, frozen, thawed or blocked: what becomes of their leases."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from contract.flavours import Api, real
from coordkit import (
    AsyncLease,
    AsyncSession,
    CoordError,
    Lease,
    LeaseLost,
    Reason,
    Session,
)
from coordkit._core.keys import lock_keys
from faults import workers
from faults.ruler import Ruler
from faults.workers import hear, told
from support.processes import worker
from support.servers import RedisServer

TTL = 0.8
WAITER_TTL = 0.8
SLACK = 0.5
ASYNCIO = pytest.mark.parametrize("api", ["async"], indirect=True)


async def queued(api: Api, raw: Any, namespace: str, number: int) -> None:
    """Wait until so many wait for the lock."""
    queue = lock_keys(namespace, "it").queue
    await api.until(lambda: raw.zcard(queue) == number, timeout=10)


# -- SIGKILL ---------------------------------------------------------------------------


async def test_a_holder_is_killed(
    api: Api, peer: AsyncSession, server: RedisServer, raw: Any, namespace: str
) -> None:
    with worker(workers.hold, api.name, server.url, namespace, TTL, "never") as holder:
        token = (await hear(api, holder, "holds"))["token"]

        async def wait() -> AsyncLease:
            return await peer.lock("it").acquire()

        waiter = api.start(wait())
        await queued(api, raw, namespace, 1)
        await api.sleep(TTL)  # it is renewed until the end
        assert not waiter.done()
        holder.sigkill()
        with Ruler() as ruler:
            successor = await waiter
            ruler.within(TTL + SLACK)
        assert successor.token > token
        await successor.release()


@pytest.mark.parametrize("woken", [False, True], ids=["asleep", "woken"])
async def test_the_first_waiter_is_killed(
    api: Api,
    peer: AsyncSession,
    server: RedisServer,
    raw: Any,
    namespace: str,
    woken: bool,
) -> None:
    """Its place outlives it by waiter_ttl; who was woken and died is no exception."""
    lease = await peer.lock("it").acquire()
    with worker(workers.wait, api.name, server.url, namespace, WAITER_TTL) as first:
        await queued(api, raw, namespace, 1)

        async def wait() -> AsyncLease:
            return await peer.lock("it").acquire()

        second = api.start(wait())
        await queued(api, raw, namespace, 2)
        if woken:
            first.sigstop()  # the wake is for it, and it does nothing any more
        else:
            first.sigkill()
        with Ruler() as ruler:
            await lease.release()
            if woken:
                first.sigkill()
            successor = await second
            ruler.within(WAITER_TTL + SLACK)
    assert "holds" not in told(first)
    await successor.release()


async def test_a_hundred_dead_waiters_are_skipped_together(
    api: Api, peer: AsyncSession, server: RedisServer, raw: Any, namespace: str
) -> None:
    """Their places lapse at the same time, not one after another."""
    lease = await peer.lock("it").acquire()
    keys, arrival = lock_keys(namespace, "it"), time.time()
    dead = [f"{n:032x}x" for n in range(100)]
    raw.zadd(keys.queue, dict.fromkeys(dead, arrival * 1000000.0))
    raw.zadd(keys.alive, dict.fromkeys(dead, (arrival + WAITER_TTL) * 1000))

    async def wait() -> AsyncLease:
        return await peer.lock("it").acquire()

    living = api.start(wait())
    await queued(api, raw, namespace, 101)
    with Ruler() as ruler:
        await lease.release()
        successor = await living
        ruler.within(WAITER_TTL + SLACK)
    await successor.release()


# -- SIGSTOP ---------------------------------------------------------------------------


async def test_a_holder_is_frozen_past_its_ttl(
    api: Api, peer: AsyncSession, server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """Thawed, it is told before it works, and what it writes all the same is refused."""
    go = tmp_path / "go"
    with worker(workers.hold, api.name, server.url, namespace, TTL, str(go)) as old:
        token = (await hear(api, old, "holds"))["token"]
        old.sigstop()
        with Ruler() as ruler:
            lease = await peer.lock("it").acquire(timeout=5)
            ruler.within(TTL + SLACK)
        assert lease.token > token
        await peer.fence("it").set("by", "the new one", token=lease.token)
        go.touch()
        old.sigcont()
        await hear(api, old, "released")
        said = told(old)
        assert said["checked"]["reason"] == Reason.EXPIRED
        assert said["wrote"]["seen"] == lease.token
        assert said["released"]["reason"] == Reason.EXPIRED
        assert old.wait() == 0
    assert await peer.fence("it").get("by") == b"the new one"
    lease.check()
    seen = await peer.lock("it").info()
    assert seen is not None
    assert seen.token == lease.token, "the late release took nothing away"
    await lease.release()


@ASYNCIO
async def test_the_body_of_a_thawed_holder_does_not_go_on(
    api: Api, peer: AsyncSession, server: RedisServer, namespace: str
) -> None:
    with worker(workers.hold_in_a_body, server.url, namespace, TTL) as old:
        await hear(api, old, "holds")
        old.sigstop()
        lease = await peer.lock("it").acquire(timeout=5)
        old.sigcont()
        assert (await hear(api, old, "stopped"))["reason"] == Reason.EXPIRED
        steps = old.output().count("worked on")
        assert steps <= 1, f"{steps} steps of work after the deadline"
        assert old.wait() == 0
    await lease.release()


async def test_a_freeze_shorter_than_the_ttl_costs_nothing(
    api: Api, peer: AsyncSession, server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with worker(workers.hold, api.name, server.url, namespace, 1, str(go)) as holder:
        token = (await hear(api, holder, "holds"))["token"]
        holder.sigstop()
        await api.sleep(0.5)
        holder.sigcont()
        await api.sleep(0.6)
        seen = await peer.lock("it").info()
        assert seen is not None
        assert seen.token == token
        go.touch()
        await hear(api, holder, "released")
        said = told(holder)
        assert [said[what]["reason"] for what in ("checked", "released")] == [None] * 2


# -- the keeper dies -------------------------------------------------------------------


def fail(*args: object) -> NoReturn:
    raise MemoryError("a bug in the keeper")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_the_keeper_dies(
    api: Api,
    s: AsyncSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leases = [
        await s.lock(f"{n}", ttl=30 if n else 1.5, slots=3 if n % 2 else None).acquire()
        for n in range(5)
    ]
    monkeypatch.setattr(real(s)._engine.keeper, "_settle", fail)
    with Ruler() as ruler:
        assert await leases[0].lost.wait(3)
        ruler.within(1.5 / 3 * 1.1 + 0.2)
    for lease in leases:
        assert lease.lost.is_set(), "lost at once, not at its deadline"
        assert lease.lost.reason is Reason.UNKEPT
        with pytest.raises(LeaseLost, match="keeper"):
            lease.check()
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in loud] == ["coordkit"]
    assert "keeper" in loud[0].getMessage()
    assert loud[0].exc_info is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_what_is_taken_after_the_keeper_died_is_kept_or_refused(
    api: Api, s: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silently unkept: the holder of a long task would count on renewals."""
    lease = await s.lock("first", ttl=0.6).acquire()
    monkeypatch.setattr(real(s)._engine.keeper, "_settle", fail)
    assert await lease.lost.wait(3)
    monkeypatch.undo()
    try:
        another = await s.lock("second", ttl=0.6).acquire()
    except CoordError:
        return
    await api.sleep(1.0)
    assert another.held, "nobody renewed it"
    await another.release()


@ASYNCIO
async def test_the_keeper_dies_under_a_body(
    s: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with s.lock("it", ttl=1.5).acquire():
            monkeypatch.setattr(real(s)._engine.keeper, "_settle", fail)
            await asyncio.sleep(10)

    with Ruler() as ruler:
        with pytest.raises(LeaseLost) as lost:
            await work()
        ruler.within(1.5 / 3 * 1.1 + 0.2)
    assert lost.value.reason is Reason.UNKEPT


# -- a blocked loop --------------------------------------------------------------------


@ASYNCIO
async def test_a_loop_is_blocked_for_longer_than_the_ttl(
    s: AsyncSession, server: RedisServer, namespace: str
) -> None:
    """Its own clock tells, before the loop has had a chance to run anything."""
    successors: list[Lease] = []

    async def work(elsewhere: Session) -> None:
        async with s.lock("it", ttl=0.5).acquire() as lease:
            await asyncio.sleep(0)
            successors.append(
                elsewhere.lock("it").acquire(timeout=5)
            )  # blocks the loop
            assert not lease.held
            assert lease.lost.is_set()
            with pytest.raises(LeaseLost):
                lease.check()
            assert successors[0].token > lease.token
            await asyncio.sleep(0.1)
            pytest.fail("the body went on")

    with Session(server.url, namespace=namespace) as elsewhere:
        with pytest.raises(LeaseLost) as lost:
            await work(elsewhere)
        assert lost.value.reason is Reason.EXPIRED
        (successor,) = successors
        successor.check()
        assert elsewhere.lock("it").info() is not None
        successor.release()


@ASYNCIO
async def test_a_loop_is_blocked_for_less_than_the_ttl(s: AsyncSession) -> None:
    async with s.lock("it", ttl=0.9).acquire() as lease:
        for _ in range(3):
            began = lease.deadline
            time.sleep(0.5)  # noqa: ASYNC251 -- what must not happen, and does
            await asyncio.sleep(0.1)
            assert lease.held
            assert lease.deadline > began


#: what an interpreter says when something was not ended in good order
NOISE = ("exception ignored", "never retrieved", "was destroyed", "unclosed", "fatal")


# -- the interpreter ends --------------------------------------------------------------


@pytest.mark.parametrize("how", ["return", "raise"])
async def test_the_interpreter_ends_while_a_lock_is_held(
    api: Api, peer: AsyncSession, server: RedisServer, namespace: str, how: str
) -> None:
    """It ends at once and quietly, and the lock by its ttl."""
    function = workers.leave if api.name == "sync" else workers.leave_async
    with worker(function, server.url, namespace, TTL, how) as left:
        token = (await hear(api, left, "holds"))["token"]
        with Ruler() as ruler:
            status = left.wait(5)
            ruler.within(1.0)
            successor = await peer.lock("it").acquire(timeout=5)
            ruler.within(TTL + SLACK)
        assert successor.token > token
        assert status == (1 if how == "raise" else 0)
        assert left.output().lower().count("traceback") == (how == "raise")
        for word in NOISE:
            assert word not in left.output().lower()
        await successor.release()


@pytest.mark.parametrize("how", ["exit", "raise"])
async def test_the_interpreter_ends_inside_of_the_blocks(
    api: Api, peer: AsyncSession, server: RedisServer, namespace: str, how: str
) -> None:
    """Unwinding releases: the next one need not wait for the ttl."""
    function = workers.unwind if api.name == "sync" else workers.unwind_async
    with worker(function, server.url, namespace, 60, how) as left:
        await hear(api, left, "holds")
        successor = await peer.lock("it").acquire(timeout=5)
        status = left.wait(5)
        assert status == (1 if how == "raise" else 3)
        assert left.output().lower().count("traceback") == (how == "raise")
        await successor.release()


@ASYNCIO
async def test_the_interpreter_ends_while_some_wait(
    api: Api, peer: AsyncSession, server: RedisServer, raw: Any, namespace: str
) -> None:
    """Each leaves the queue, and nothing is left of what asked for it."""
    lease = await peer.lock("it").acquire()
    with worker(workers.leave_waiting, server.url, namespace) as left:
        await hear(api, left, "waits")
        assert left.wait(5) == 0
        assert raw.zcard(lock_keys(namespace, "it").queue) == 0
        for word in NOISE:
            assert word not in left.output().lower()
    await lease.release()
