"""
The public API as users type it: checked by mypy and pyright, strict, and never run.

`tests/test_public_api.py` sees to it that every public name is used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_type

import redis
import redis.asyncio

import coordkit
from coordkit import (
    Acquiring,
    AsyncFence,
    AsyncLease,
    AsyncLeases,
    AsyncLock,
    AsyncLockAll,
    AsyncLost,
    AsyncSession,
    CoordError,
    EmptyRing,
    Fence,
    FenceRegression,
    Holder,
    KeyConflict,
    LeadershipLost,
    Lease,
    LeaseLost,
    Leases,
    Lock,
    LockAll,
    LockInfo,
    LockTimeout,
    Lost,
    NoLeader,
    NotHeld,
    NotPermitted,
    Reason,
    Refused,
    Session,
    StaleToken,
    State,
    Unreachable,
    Unsupported,
)
from coordkit.testing import Server

URL = "redis://localhost:6379/0"
MINUTE = timedelta(minutes=1)


def charge(card: str, *, lease: Lease | None = None) -> int:
    """What a lock protects."""
    return len(card) + (lease.token if lease else 0)


# -- sessions ----------------------------------------------------------------------


def sessions() -> None:
    with Session() as s:
        assert_type(s, Session)
    with Session(URL, namespace="shop", identity="worker-1", timeout=0.5) as s:
        assert_type(s.namespace, str)
        assert_type(s.identity, str)
        assert_type(s.address, str)
        assert_type(s.ping(), None)
        assert_type(s.locks(), list[LockInfo])
        assert_type(s.lock("jobs"), Lock)
        assert_type(s.lock_all(["a", "b"], ttl=10), LockAll)
        assert_type(s.fence("jobs"), Fence)
    s = Session(redis.Redis(), timeout=timedelta(seconds=1))
    s = Session(redis.RedisCluster("localhost"))
    assert_type(s.close(), None)


async def async_sessions() -> None:
    async with AsyncSession() as s:
        assert_type(s, AsyncSession)
    async with AsyncSession(URL, namespace="shop", identity="w", timeout=0.5) as s:
        assert_type(s.namespace, str)
        assert_type(s.identity, str)
        assert_type(s.address, str)
        assert_type(await s.ping(), None)
        assert_type(await s.locks(), list[LockInfo])
        assert_type(s.lock("jobs"), AsyncLock)
        assert_type(s.lock_all(("a", "b"), ttl=MINUTE), AsyncLockAll)
        assert_type(s.fence("jobs"), AsyncFence)
    s = AsyncSession(redis.asyncio.Redis(), timeout=timedelta(seconds=1))
    s = AsyncSession(redis.asyncio.RedisCluster("localhost"))
    assert_type(await s.close(), None)


# -- locks -------------------------------------------------------------------------


def locks(s: Session) -> None:
    lock = s.lock(
        "jobs",
        ttl=10,
        fair=False,
        shared=False,
        slots=None,
        hold_at_least=0.5,
        max_hold=MINUTE,
        lock_delay=timedelta(seconds=2),
        waiter_ttl=3,
        meta={"job": 7},
    )
    s.lock("readers", shared=True)
    s.lock("places", slots=3)
    assert_type(lock.name, str)
    assert_type(lock.ttl, float)
    with lock as lease:
        assert_type(lease, Lease)
    with lock.acquire() as lease:
        assert_type(lease, Lease)
    with lock.acquire(timeout=5), lock.acquire(MINUTE), lock.acquire(None):
        pass
    assert_type(lock.try_acquire(), Lease | None)
    if (taken := lock.try_acquire()) is not None:
        with taken:
            charge("card")
    assert_type(lock.break_(reason="it hangs", holder="f00d"), LockInfo | None)
    assert_type(lock.revoke(), LockInfo | None)
    seen = lock.info()
    assert_type(seen, LockInfo | None)
    if seen is not None:
        what_was_seen(seen)


async def async_locks(s: AsyncSession) -> None:
    lock = s.lock("jobs", ttl=MINUTE, fair=False, shared=False, waiter_ttl=MINUTE)
    s.lock("places", slots=3, max_hold=60, lock_delay=2, hold_at_least=1, meta={"a": 1})
    assert_type(lock.name, str)
    assert_type(lock.ttl, float)
    async with lock as lease:
        assert_type(lease, AsyncLease)
    async with lock.acquire() as lease:
        assert_type(lease, AsyncLease)
    async with lock.acquire(timeout=5), lock.acquire(MINUTE), lock.acquire(None):
        pass
    under_way: Acquiring[AsyncLease] = lock.acquire(1.5)
    assert_type(await under_way, AsyncLease)
    assert_type(await lock.try_acquire(), AsyncLease | None)
    if (taken := await lock.try_acquire()) is not None:
        async with taken:
            charge("card")
    assert_type(await lock.break_(reason="it hangs", holder="f00d"), LockInfo | None)
    assert_type(await lock.revoke(), LockInfo | None)
    assert_type(await lock.info(), LockInfo | None)


def what_was_seen(seen: LockInfo) -> None:
    assert_type(seen.name, str)
    assert_type(seen.mode, str)
    assert_type(seen.holder, str)
    assert_type(seen.identity, str)
    assert_type(seen.token, int)
    assert_type(seen.expires_in, float)
    assert_type(seen.since, float)
    assert_type(seen.waiters, int)
    assert_type(seen.meta, Mapping[str, Any])
    assert_type(seen.limit, int | None)
    assert_type(seen.holders, tuple[Holder, ...])
    for each in seen.holders:
        assert_type(each.holder, str)
        assert_type(each.identity, str)
        assert_type(each.token, int)
        assert_type(each.expires_in, float)
        assert_type(each.since, float)
        assert_type(each.meta, Mapping[str, Any])


# -- leases ------------------------------------------------------------------------


def leases(lease: Lease) -> None:
    assert_type(lease.name, str)
    assert_type(lease.holder, str)
    assert_type(lease.token, int)
    assert_type(lease.ttl, float)
    assert_type(lease.deadline, float)
    assert_type(lease.remaining(), float)
    assert_type(lease.held, bool)
    assert_type(lease.state, State)
    assert_type(lease.reason, Reason | None)
    assert_type(lease.check(), None)
    assert_type(lease.renew(), None)
    with lease.reenter() as again:
        assert_type(again, Lease)
    lost = lease.lost
    assert_type(lost, Lost)
    assert_type(lost.is_set(), bool)
    assert_type(lost.wait(), bool)
    assert_type(lost.wait(timeout=0.5), bool)
    assert_type(lost.reason, Reason | None)
    assert_type(lease.release(), None)


async def async_leases(lease: AsyncLease) -> None:
    assert_type(lease.name, str)
    assert_type(lease.holder, str)
    assert_type(lease.token, int)
    assert_type(lease.ttl, float)
    assert_type(lease.deadline, float)
    assert_type(lease.remaining(), float)
    assert_type(lease.held, bool)
    assert_type(lease.state, State)
    assert_type(lease.reason, Reason | None)
    assert_type(lease.check(), None)
    assert_type(await lease.renew(), None)
    async with lease.reenter() as again:
        assert_type(again, AsyncLease)
    lost = lease.lost
    assert_type(lost, AsyncLost)
    assert_type(lost.is_set(), bool)
    assert_type(await lost.wait(), bool)
    assert_type(await lost.wait(timeout=0.5), bool)
    assert_type(lost.reason, Reason | None)
    assert_type(await lease.release(), None)


def states(state: State, reason: Reason) -> str:
    match state:
        case State.HELD | State.AT_RISK:
            return "go on"
        case State.LOST | State.RELEASED:
            pass
    match reason:
        case Reason.EXPIRED | Reason.STOLEN | Reason.BROKEN | Reason.REVOKED:
            return f"{reason}: {reason.why}"
        case Reason.EVICTED | Reason.DATA_LOST | Reason.CONFLICT:
            return reason.value
        case Reason.UNKEPT | Reason.FORKED | Reason.OVER:
            return reason.upper()  # a reason is a str


# -- several at once -----------------------------------------------------------------


def several(s: Session) -> None:
    both = s.lock_all(["a", "b"])
    with both as held:
        assert_type(held, Leases)
        assert_type(held["a"], Lease)
        assert_type(held.held, bool)
        assert_type(held.remaining(), float)
        assert_type(held.check(), None)
        assert_type(dict(held), dict[str, Lease])
    with both.acquire(timeout=MINUTE) as held:
        assert_type(held, Leases)
    assert_type(both.try_acquire(), Leases | None)
    assert_type(both.acquire().release(), None)


async def async_several(s: AsyncSession) -> None:
    both = s.lock_all(["a", "b"])
    async with both as held:
        assert_type(held, AsyncLeases)
        assert_type(held["a"], AsyncLease)
        assert_type(held.held, bool)
        assert_type(held.remaining(), float)
        assert_type(held.check(), None)
        assert_type(dict(held), dict[str, AsyncLease])
    async with await both.acquire(timeout=MINUTE) as held:
        assert_type(held, AsyncLeases)
    assert_type(await both.try_acquire(), AsyncLeases | None)
    assert_type(await (await both.acquire(5)).release(), None)


# -- fences ------------------------------------------------------------------------


def fences(s: Session, lease: Lease) -> None:
    fence = s.fence("accounts")
    assert_type(fence.name, str)
    assert_type(fence.check(lease.token), None)
    assert_type(fence.set("total", "7", token=lease.token), None)
    assert_type(fence.set("total", b"7", token=lease.token), None)
    assert_type(fence.get("total"), bytes | None)
    assert_type(fence.seen(), int)


async def async_fences(s: AsyncSession, lease: AsyncLease) -> None:
    fence = s.fence("accounts")
    assert_type(fence.name, str)
    assert_type(await fence.check(lease.token), None)
    assert_type(await fence.set("total", "7", token=lease.token), None)
    assert_type(await fence.get("total"), bytes | None)
    assert_type(await fence.seen(), int)


# -- singletons ----------------------------------------------------------------------


def singletons(s: Session) -> None:
    @s.singleton("report")
    def report(day: str, *, lease: Lease | None = None) -> int:
        return charge(day, lease=lease)

    assert_type(report("monday"), int | None)

    @s.singleton("report", ttl=MINUTE, timeout=None, busy="skip")
    def skipped() -> str:
        return "done"

    assert_type(skipped(), str | None)


async def async_singletons(s: AsyncSession) -> None:
    @s.singleton("report")
    async def report(day: str, *, lease: AsyncLease | None = None) -> int:
        return len(day) + (lease.token if lease else 0)

    assert_type(await report("monday"), int | None)

    @s.singleton("report", ttl=60, timeout=2.5, busy="skip")
    async def skipped() -> str:
        return "done"

    assert_type(await skipped(), str | None)


# -- tests of users ------------------------------------------------------------------


def test_of_a_user(coordkit_server: Server, coordkit_session: Session) -> None:
    a, b = coordkit_server.session("a"), coordkit_server.session(timeout=0.5)
    assert_type(a, Session)
    lease = coordkit_session.lock("jobs").acquire()
    assert_type(coordkit_server.expire(lease), None)
    assert_type(coordkit_server.steal("jobs", ttl=5, told=False), Lease)
    assert_type(coordkit_server.lose_data(told=True), None)
    with coordkit_server.partition(a, b), coordkit_server.partition():
        pass
    assert_type(coordkit_server.close(), None)


async def async_test_of_a_user(
    coordkit_server: Server, coordkit_async_session: AsyncSession
) -> None:
    a = coordkit_server.async_session(identity="a", timeout=0.5)
    assert_type(a, AsyncSession)
    lease = await coordkit_async_session.lock("jobs").acquire()
    coordkit_server.expire(lease)
    with coordkit_server.partition(a):
        pass


# -- errors ------------------------------------------------------------------------


def errors(s: Session) -> str:
    try:
        with s.lock("jobs").acquire(timeout=1) as lease:
            s.fence("accounts").check(lease.token)
    except Unreachable as error:
        assert_type(error.sent, bool)
        as_builtin: ConnectionError = error
        return str(as_builtin)
    except LockTimeout as error:
        return f"{error.name} was taken for {error.timeout:.1f} s"
    except LeadershipLost as error:
        return error.reason.why
    except LeaseLost as error:
        assert_type(error.name, str)
        assert_type(error.token, int)
        assert_type(error.reason, Reason)
    except NotHeld as error:
        assert_type(error.name, str)
    return "over"


def other_errors(s: Session) -> str:
    try:
        s.fence("accounts").set("total", "7", token=7)
    except StaleToken as error:
        assert_type(error.name, str)
        return f"{error.token} < {error.seen}"
    except FenceRegression as error:
        assert_type(error.name, str)
        return f"{error.token} < {error.seen}"
    except (NoLeader, EmptyRing) as error:
        not_found: LookupError = error
        return str(not_found)
    except NotPermitted as error:
        forbidden: PermissionError = error
        return str(forbidden)
    except (KeyConflict, Unsupported, Refused) as error:
        of_ours: CoordError = error
        return str(of_ours)
    return coordkit.__version__
