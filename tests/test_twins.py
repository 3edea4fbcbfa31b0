"""Each thing for threads has a twin for tasks: the same names, parameters and words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import coordkit
from coordkit import (
    AsyncBalancer,
    AsyncCounter,
    AsyncElection,
    AsyncFence,
    AsyncGroup,
    AsyncIds,
    AsyncLease,
    AsyncLeases,
    AsyncLiveNode,
    AsyncLock,
    AsyncLockAll,
    AsyncLost,
    AsyncMember,
    AsyncPlan,
    AsyncRing,
    AsyncSession,
    AsyncTerm,
    Balancer,
    Counter,
    Election,
    Fence,
    Group,
    Ids,
    Lease,
    Leases,
    LiveNode,
    Lock,
    LockAll,
    Lost,
    Member,
    Plan,
    Ring,
    Session,
    Term,
)
from coordkit._io import (
    aio,
    awake,
    blocking,
    cluster,
    connect,
    engine,
    line,
    wake,
    wire,
)
from support.surface import PublicName, members

TWINS: list[tuple[Any, Any]] = [
    (Session, AsyncSession),
    (Lock, AsyncLock),
    (Lease, AsyncLease),
    (LockAll, AsyncLockAll),
    (Leases, AsyncLeases),
    (Fence, AsyncFence),
    (Election, AsyncElection),
    (Term, AsyncTerm),
    (Group, AsyncGroup),
    (Member, AsyncMember),
    (Balancer, AsyncBalancer),
    (Counter, AsyncCounter),
    (Ids, AsyncIds),
    (Lost, AsyncLost),
    (Ring, AsyncRing),
    (LiveNode, AsyncLiveNode),
    (Plan, AsyncPlan),
]
#: What stands behind them: the same names and parameters; how it works differs.
INNER_TWINS: list[tuple[Any, Any]] = [
    (engine.Engine, engine.AsyncEngine),
    (connect.Source, connect.AsyncSource),
    (wake.WakeLine, awake.AsyncWakeLine),
    (wire.Asking, aio.AsyncAsking),
    (wire.Wires, line.Line),
    (cluster.ClusterWires, cluster.AsyncClusterWires),
    (blocking.Blocking, aio.Aio),
    (blocking.KeeperThread, aio.KeeperTask),
    (blocking.FollowerThread, aio.FollowerTask),
]


def pairs(twins: list[tuple[Any, Any]]) -> pytest.MarkDecorator:
    names = [sync.__name__ for sync, _ in twins]
    return pytest.mark.parametrize(("sync", "twin"), twins, ids=names)


#: What asks the server, or waits: a coroutine on the asyncio side, and nothing else is.
ASKS = {
    *("Session.close", "Session.elections", "Session.groups", "Session.locks"),
    *("Session.ping", "Session.rings", "Group.members"),
    *("Member.leave", "Member.renew", "Member.report"),
    "Balancer.pick",
    *("Session.add_all", "Session.counters"),
    *("Lock.break_", "Lock.info", "Lock.revoke", "Lock.try_acquire"),
    *("Lease.release", "Lease.renew", "Leases.release"),
    "LockAll.try_acquire",
    *("Election.candidates", "Election.history", "Election.info", "Election.leader"),
    *("Election.pause", "Election.resume", "Election.revoke", "Election.run"),
    *("Election.transfer", "Term.release", "Term.renew", "Term.resign"),
    *("Fence.check", "Fence.get", "Fence.seen", "Fence.set"),
    *("Fence.append", "Fence.cas", "Fence.delete", "Fence.journal", "Fence.last"),
    *("Counter.add", "Counter.delete", "Counter.set", "Counter.value"),
    "Lost.wait",
    *("Ring.add", "Ring.create", "Ring.delete", "Ring.import_", "Ring.plan"),
    *("Ring.diff", "Ring.export", "Ring.info", "Ring.refresh", "Ring.verify"),
    *("Ring.assign", "Ring.loads", "Ring.release", "Ring.remove", "Ring.reweight"),
    *("Ring.live", "LiveNode.leave", "LiveNode.renew"),
    "Plan.apply",
}
#: Where docstrings must differ, and why.
SAID_OTHERWISE = {
    "Session": "another library's client; an event loop",
    "Lost": "refers to its twin",
    "Election.run": "a task can be stopped from outside, a thread cannot",
    "Ids": "`next` and threads, `anext` and tasks",
    "Session.add_all": "refers to its twin",
}
#: Where parameters must differ, and why.
CALLED_OTHERWISE = {
    "KeeperThread.stop": "a thread may not end in time; a task is cancelled",
    "FollowerThread.stop": "likewise",
}
#: Where annotations differ beyond the names of the twins, and why.
TYPED_OTHERWISE = {
    "Lock.acquire": "returns what may be awaited and entered",
    "LockAll.acquire": "likewise",
    "Election.campaign": "likewise",
    "Group.join": "likewise",
    "Ring.join": "likewise",
    "Election.run": "takes a coroutine function",
    "Session.singleton": "decorates a coroutine function",
}


def common(sync: Any, twin: Any) -> Iterator[tuple[str, PublicName, PublicName]]:
    theirs = {member.name: member for member in members(twin)}
    for member in members(sync):
        if member.name in theirs:
            yield f"{sync.__name__}.{member.name}", member, theirs[member.name]


@pairs(TWINS + INNER_TWINS)
def test_twins_have_the_same_names(sync: Any, twin: Any) -> None:
    assert [m.name for m in members(sync)] == [m.name for m in members(twin)]


@pairs(TWINS + INNER_TWINS)
def test_twins_take_the_same_parameters(sync: Any, twin: Any) -> None:
    def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
        each = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in each]

    for path, ours, theirs in common(sync, twin):
        assert type(ours.value) is type(theirs.value), path
        if ours.function and theirs.function:
            same = parameters(ours.function) == parameters(theirs.function)
            assert same is (path not in CALLED_OTHERWISE), path
    assert parameters(sync.__init__) == parameters(twin.__init__)


@pairs(TWINS)
def test_twins_are_typed_alike(sync: Any, twin: Any) -> None:
    def annotations(function: Callable[..., Any]) -> dict[str, str]:
        found = function.__annotations__.items()
        sync = {name: str(text).replace("Async", "") for name, text in found}
        handed_on = re.fullmatch(r"Coroutine\[Any, Any, (.+)\]", sync["return"])
        return sync | ({"return": handed_on[1]} if handed_on else {})

    for path, ours, theirs in common(sync, twin):
        if ours.function and theirs.function:
            same = annotations(ours.function) == annotations(theirs.function)
            assert same is (path not in TYPED_OTHERWISE), path


@pairs(TWINS)
def test_twins_say_the_same(sync: Any, twin: Any) -> None:
    names = [(sync.__name__, sync.__doc__, twin.__doc__)]
    names += [(p, a.value.__doc__, b.value.__doc__) for p, a, b in common(sync, twin)]
    for path, ours, theirs in names:
        assert (ours == theirs) is (path not in SAID_OTHERWISE), path


@pairs(TWINS)
def test_what_asks_is_a_coroutine_on_one_side_only(sync: Any, twin: Any) -> None:
    for path, ours, theirs in common(sync, twin):
        assert not inspect.iscoroutinefunction(ours.function), path
        assert is_coroutine(theirs.function) is (path in ASKS), path


def is_coroutine(function: Callable[..., Any] | None) -> bool:
    """Whether it is one, or hands one on."""
    returns = str(getattr(function, "__annotations__", {}).get("return"))
    return inspect.iscoroutinefunction(function) or returns.startswith("Coroutine[")


def test_no_twin_is_excused_in_vain() -> None:
    paths = {path for pair in TWINS + INNER_TWINS for path, *_ in common(*pair)}
    paths |= {sync.__name__ for sync, _ in TWINS}
    for excused in (ASKS, SAID_OTHERWISE, CALLED_OTHERWISE, TYPED_OTHERWISE):
        assert set(excused) <= paths


@pairs(TWINS)
def test_what_one_iterates_over_the_other_iterates_over_too(
    sync: Any, twin: Any
) -> None:
    assert hasattr(sync, "__next__") is hasattr(twin, "__anext__")
    assert not hasattr(twin, "__iter__") or sync is Leases, "a mapping of names"


@pairs(TWINS)
def test_what_one_enters_the_other_enters_too(sync: Any, twin: Any) -> None:
    assert hasattr(sync, "__enter__") is hasattr(twin, "__aenter__")
    assert hasattr(sync, "__exit__") is hasattr(twin, "__aexit__")
    assert not hasattr(sync, "__aenter__")
    assert not hasattr(twin, "__enter__"), "`with` without `async` is a TypeError"


def test_the_twins_are_all_there() -> None:
    pairs = {twin.__name__: sync.__name__ for sync, twin in TWINS}
    asyncio_side = {name for name in coordkit.__all__ if name.startswith("Async")}
    assert pairs == {name: name.removeprefix("Async") for name in asyncio_side}
