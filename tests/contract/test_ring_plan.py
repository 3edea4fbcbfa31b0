"""Plans: they show what they would do, and do that or nothing more."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contract.flavours import Api, run
from contract.marks import everywhere, on_redis, on_redis_and_fake
from contract.places import Place
from contract.ringplay import KEYS, a_ring, keys_of, known, stored
from coordkit import AsyncSession, Node, NoNode, RingChanged
from coordkit._core import ring as _core
from coordkit._core.ring import Writer
from coordkit._core.ring_change import Draft, draft, wanted
from coordkit._core.ring_read import ring_id
from coordkit._core.ring_write import commit_call, points_of


@everywhere
async def test_a_plan_changes_nothing_and_then_what_it_has_shown(
    place: Place, s: AsyncSession
) -> None:
    ring = await a_ring(s)
    before = stored(place, s)
    plan = await ring.plan(
        add=[Node("cache-4", 1.0, "z")], remove=["cache-1"], reweight={"cache-3": 2.0}
    )
    assert stored(place, s) == before
    assert plan.version == 2
    assert plan.moved == sum(move.slots for move in plan.moves) / 1024
    assert abs(plan.moved - plan.ideal) < 3 / 1024
    assert plan.before == ring.stats()
    shown = {share.name: share.slots for share in plan.after.nodes}
    assert sum(shown.values()) == 1024
    (change,) = await plan.apply()
    assert change.added == ("cache-4",)
    assert change.removed == ("cache-1",)
    assert change.reweighted == ("cache-3",)
    assert change.moved == plan.moved * 1024
    assert {share.name: share.slots for share in ring.stats().nodes} == shown
    for move in plan.moves:
        assert move.target == _owner_of(ring, move.first) == _owner_of(ring, move.last)
    assert await ring.verify() == []


def _owner_of(ring: Any, slot: int) -> str:
    owner: str = ring._local.known().table()[slot]
    return owner


@everywhere
async def test_a_plan_whose_version_has_passed_leaves_the_ring_untouched(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    plan = await s.ring("shards").plan(add={"first": 1.0})
    ring = await a_ring(s2)
    with pytest.raises(RingChanged, match="at version 2, no longer at version 0"):
        await plan.apply()
    plan = await s.ring("shards").plan(add={"cache-4": 1.0})
    await ring.reweight("cache-1", 2)
    before = stored(place, s)
    with pytest.raises(RingChanged) as passed:
        await plan.apply()
    assert (passed.value.name, passed.value.expected, passed.value.version) == (
        "shards",
        2,
        3,
    )
    assert stored(place, s) == before
    await ring.delete()
    with pytest.raises(RingChanged, match="'shards' is gone"):
        await plan.apply()
    await a_ring(s2)
    with pytest.raises(RingChanged, match="at version 2, no longer at version 2"):
        await plan.apply()  # another ring of that name, at the same version


@on_redis_and_fake
async def test_a_plan_goes_in_steps(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s)
    watcher = await known(s2.ring("shards"))
    plan = await ring.plan(add={"cache-4": 4.0}, remove=["cache-1"])
    began = time.monotonic()
    changes = await plan.apply(max_move=0.2, every=0.1)
    assert time.monotonic() - began >= 0.1 * (len(changes) - 1)
    assert len(changes) == -(-round(plan.moved * 1024) // 204) == 3
    assert [change.version for change in changes] == [3, 4, 5]
    assert all(change.moved <= 204 for change in changes)
    assert ring.stats().nodes == plan.after.nodes
    assert await ring.verify() == []
    await api.until(lambda: watcher.version == 5)
    assert watcher.owner_many(KEYS) == ring.owner_many(KEYS)
    diff = await ring.diff(2)
    assert diff.moved == pytest.approx(plan.moved)
    assert list(diff.moves) == plan.moves
    assert (await ring.diff(1)).moves == (), "nobody had the slots at first"


async def test_an_interrupted_plan_is_finished_by_another(
    s: AsyncSession, s2: AsyncSession
) -> None:
    ring = await a_ring(s)
    plan = await ring.plan(add={"cache-4": 1.0}, remove=["cache-1"])
    first = next(plan._made.steps(100))
    await _commit(s, plan, first)
    other = await known(s2.ring("shards"))
    assert [node.state for node in other.nodes()] == ["leaving", *["active"] * 3]
    assert await other.verify() == []
    rest = await other.plan()
    assert rest.moved == pytest.approx(plan.moved - 100 / 1024)
    assert rest.ideal <= rest.moved
    await rest.apply(max_move=0.1)
    assert [node.name for node in other.nodes()] == ["cache-2", "cache-3", "cache-4"]
    assert (await other.plan()).moves == []


async def _commit(s: AsyncSession, plan: Any, new: Any) -> None:
    made = Draft(plan._made.change, plan._made.old, new)
    writer = Writer("r" * 32, "me", lambda *_: None)
    await run(s, _core.commit(ring_id(s.namespace, "shards", 2.0), made, writer))


async def test_what_cannot_be_planned(s: AsyncSession) -> None:
    ring = await a_ring(s)
    with pytest.raises(NoNode):
        await ring.plan(remove=["cache-9"])
    plan = await ring.plan(add={"cache-4": 1.0})
    ways: list[tuple[Any, type[Exception]]] = [
        ({"max_move": 0}, ValueError),
        ({"max_move": 2}, ValueError),
        ({"max_move": float("nan")}, ValueError),
        ({"every": -1}, ValueError),
        ({"every": "soon"}, TypeError),
    ]
    for way, error in ways:
        with pytest.raises(error):
            await plan.apply(**way)
    assert (await known(ring)).version == 2


@everywhere
async def test_a_replayed_change_is_answered_as_the_first_time(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    """As when the answer was lost, and others have changed the ring since."""
    ring = await a_ring(s)
    made = draft(ring._local.known(), wanted(add={"cache-4": 1.0}))
    id_ = ring_id(s.namespace, "shards", 2.0)
    drawn = points_of(made)
    call = commit_call(id_, "r" * 32, "me", made, drawn)

    def again() -> Any:
        reply = yield call
        return [str(part) for part in reply.value]

    first = await run(s, again())
    await s2.ring("shards").add("cache-5")
    before = stored(place, s)
    assert await run(s, again()) == first
    assert "committed" in first[0]
    assert stored(place, s) == before
    other = call._replace(args=("q" * 32, *call.args[1:]))

    def late() -> Any:
        reply = yield other
        return [str(part) for part in reply.value]

    assert "changed" in (await run(s, late()))[0], "another request of that version"
    assert stored(place, s) == before
    assert place.raw.hget(keys_of(s).meta, "version") == "4"


@on_redis
async def test_a_plan_for_a_ring_that_is_not_there_makes_it(s: AsyncSession) -> None:
    plan = await s.ring("shards").plan(add={"a": 1.0})
    assert (plan.version, plan.moved, plan.ideal) == (0, 0.0, 0.0)
    assert await s.rings() == []
    await plan.apply()
    assert (await known(s.ring("shards"))).owner("x") == "a"
