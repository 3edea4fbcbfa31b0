"""The public API of rings as users type it: checked, and never run, as `api.py` is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any, assert_type

from coordkit import (
    AsyncPlan,
    AsyncRing,
    AsyncSession,
    DamagedRing,
    EmptyRing,
    Location,
    Migration,
    Move,
    Node,
    NodeShare,
    NoNode,
    Overloaded,
    Plan,
    Range,
    Resumed,
    Ring,
    RingChange,
    RingChanged,
    RingDiff,
    RingInfo,
    RingStats,
    Session,
    StaleRing,
    Suspended,
)
from coordkit.ring import RingEvent

MINUTE = timedelta(minutes=1)
NODE = Node("cache-4", weight=2, zone="b", capacity=100, meta={"addr": "10.0.0.4"})


def rings(s: Session) -> None:
    ring = s.ring("shards")
    assert_type(ring, Ring)
    s.ring("shards", max_staleness=MINUTE)
    assert_type(s.rings(), list[RingInfo])
    assert_type(ring.create(slots=4096, mode="hashed", replicas=3), RingChange)
    assert_type(
        ring.add("cache-1", weight=2, zone="a", capacity=9, meta={"a": 1}), RingChange
    )
    ring.add({"cache-2": 1, "cache-3": 2.0})
    ring.add([NODE, "cache-3"])
    ring.add(NODE)
    assert_type(ring.remove("cache-1", "cache-2"), RingChange)
    assert_type(ring.reweight("cache-1", 3), RingChange)
    ring.reweight({"cache-1": 1, "cache-2": 0.5})
    plan = ring.plan(add={"a": 1.0}, remove=["cache-1"], reweight={"cache-2": 2.0})
    assert_type(plan, Plan)
    assert_type(ring.plan(), Plan)
    assert_type(plan.apply(), list[RingChange])
    assert_type(plan.apply(max_move=0.05, every=MINUTE, told=print), list[RingChange])
    what_is_planned(plan)
    lookups(ring)
    assert_type(ring.refresh(), int)
    assert_type(ring.info(), RingInfo | None)
    assert_type(ring.diff(1), RingDiff)
    assert_type(ring.diff(1, until=2).moves, tuple[Move, ...])
    assert_type(ring.verify(), list[str])
    assert_type(ring.import_(ring.export(), over=True), RingChange)
    assert_type(ring.export(), dict[str, Any])
    assert_type(ring.watch(), Iterator[RingEvent])
    for event in ring.watch():
        what_happened(event)
    assert_type(ring.assign("job:9", c=1.5), str)
    assert_type(ring.release(b"job:9"), str | None)
    assert_type(ring.loads(), dict[str, int])
    assert_type(ring.delete(), bool)


async def async_rings(s: AsyncSession) -> None:
    ring = s.ring("shards", max_staleness=10)
    assert_type(ring, AsyncRing)
    assert_type(await s.rings(), list[RingInfo])
    assert_type(await ring.create(slots=4096, mode="hashed", replicas=3), RingChange)
    assert_type(await ring.add("cache-1", weight=2, zone="a"), RingChange)
    await ring.add({"cache-2": 1, "cache-3": 2.0})
    assert_type(await ring.remove("cache-1", "cache-2"), RingChange)
    assert_type(await ring.reweight("cache-1", 3), RingChange)
    plan = await ring.plan(add=[NODE], remove=("cache-1",))
    assert_type(plan, AsyncPlan)
    assert_type(await plan.apply(max_move=0.05, every=300), list[RingChange])
    what_is_planned(plan)
    assert_type(await ring.refresh(), int)
    lookups(ring)
    assert_type(await ring.info(), RingInfo | None)
    assert_type(await ring.diff(1, 2), RingDiff)
    assert_type(await ring.verify(), list[str])
    assert_type(await ring.import_(await ring.export()), RingChange)
    assert_type(ring.watch(), AsyncIterator[RingEvent])
    async for event in ring.watch():
        what_happened(event)
    assert_type(await ring.assign("job:9"), str)
    assert_type(await ring.release("job:9"), str | None)
    assert_type(await ring.loads(), dict[str, int])
    assert_type(await ring.delete(), bool)


def lookups(ring: Ring | AsyncRing) -> None:
    assert_type(ring.name, str)
    assert_type(ring.version, int)
    assert_type(ring.owner("user:42"), str)
    assert_type(ring.owner(b"user:42"), str)
    assert_type(ring.owner_many(["a", b"b"]), list[str])
    assert_type(ring.owner_many(key for key in "ab"), list[str])
    assert_type(ring.owners("user:42"), tuple[str, ...])
    assert_type(ring.owners("user:42", n=3), tuple[str, ...])
    where = ring.locate("user:42")
    assert_type(where, Location)
    assert_type((where.slot, where.epoch, where.version), tuple[int, int, int])
    assert_type(where.node, str)
    for run in ring.ranges("cache-1"):
        assert_type(run, Range)
        assert_type(run.first + run.last, int)
    assert_type(ring.nodes(), tuple[Node, ...])
    what_is_counted(ring.stats())
    seen = ring.from_ketama({"cache-1": 1, "cache-2": 2}, ["a", "b"])
    assert_type(seen, Migration)
    assert_type((seen.keys, seen.moved), tuple[int, float])
    assert_type(seen.flows, Mapping[tuple[str, str], int])
    assert_type(
        (seen.before, seen.after), tuple[Mapping[str, float], Mapping[str, float]]
    )
    assert_type(seen.max_over_mean_before + seen.max_over_mean_after, float)


def what_is_planned(plan: Plan | AsyncPlan) -> None:
    assert_type(plan.version, int)
    assert_type(plan.moved + plan.ideal, float)
    assert_type((plan.before, plan.after), tuple[RingStats, RingStats])
    for move in plan.moves:
        assert_type(move, Move)
        assert_type((move.first, move.last, move.slots), tuple[int, int, int])
        assert_type(move.source + move.target, str)


def what_is_counted(stats: RingStats) -> None:
    assert_type((stats.version, stats.slots, stats.arcs), tuple[int, int, int])
    assert_type((stats.replicas, stats.zones), tuple[int, Mapping[str, int]])
    assert_type(stats.max_over_mean + stats.min_over_mean + stats.cv, float)
    assert_type(stats.warnings, tuple[str, ...])
    for share in stats.nodes:
        assert_type(share, NodeShare)
        assert_type(share.name + share.zone + share.state, str)
        assert_type(share.slots, int)
        assert_type(share.weight + share.share + share.ideal, float)
        assert_type(share.load + share.copies, float)


def what_happened(event: RingEvent) -> str:
    match event:
        case RingInfo():
            assert_type((event.version, event.slots), tuple[int, int])
            assert_type((event.replicas, event.nodes), tuple[int, int])
            return event.name + event.mode
        case RingChange():
            assert_type((event.version, event.at, event.moved), tuple[int, float, int])
            names = event.added + event.removed + event.reweighted
            return f"{event.by}: {names}"
        case Suspended():
            return event.why
        case Resumed():
            return f"after {event.silent:.1f} s"


def nodes(node: Node) -> None:
    assert_type(node.name + node.zone + node.state, str)
    assert_type(node.weight + node.pull, float)
    assert_type(node.capacity, int | None)
    assert_type(node.meta, Mapping[str, Any])


def differences(diff: RingDiff) -> None:
    assert_type((diff.since, diff.until, diff.moved), tuple[int, int, float])
    assert_type(diff.changes, tuple[RingChange, ...])


def errors(ring: Ring) -> str:
    try:
        ring.remove("cache-1")
    except EmptyRing as error:
        not_found: LookupError = error
        return str(not_found)
    except RingChanged as error:
        return f"{error.name} {error.expected} {error.version}"
    except DamagedRing as error:
        return f"{error.name} {error.why}"
    except StaleRing as error:
        return error.name
    except Overloaded as error:
        return f"{error.name}: {error.load} of {error.most}"
    except NoNode as error:
        return error.node
    return "over"
