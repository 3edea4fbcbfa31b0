"""The kinds of episodes of a ring's live nodes: which faults strike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from unittest import mock

from coordkit._core import ring, ring_slot, ring_snapshot, ring_tend
from coordkit._core.ops import Op
from coordkit.errors import CoordError
from sim.episodes import Settings, Sources
from sim.shards import (
    GLANCE,
    GRACE,
    NODES,
    RING,
    SLOTS,
    SOON,
    TTL,
    Atlas,
    Process,
    life,
    operator,
)
from sim.story import Violation
from sim.world import Client, Faults, Scenario, World

ROUNDS = 3
#: The longest that a fault lasts which has begun.
OVER = 2.5
#: Of those who are struck only some are nodes that live just then.
ROUGH = replace(Faults.rough(), client_pauses=0.8, disconnects=0.4, server_pauses=0.2)


def episode(
    seed: int,
    faults: Faults,
    *,
    sources: Sources = None,
    operations: int = 3,
) -> Atlas:
    """Play one episode and check it."""
    with (
        mock.patch.object(ring_tend, "Shape", return_value=ring.Shape(SLOTS)),
        mock.patch.object(ring_slot, "FEWEST_SLOTS", SLOTS),
        mock.patch.object(ring_snapshot, "FEWEST_SLOTS", SLOTS),
    ):
        world = World(seed, faults, sources)
        atlas = Atlas(world)
        world.client("maker").spawn(_create(world.client("maker")))
        tasks = [
            world.client(f"fate of {name}").spawn(life(atlas, name, ROUNDS))
            for name in NODES
        ]
        for task in tasks:  # fate itself is not struck
            spared = mock.Mock()
            task.client.crash = task.client.pause = spared  # type: ignore[method-assign]
        world.client("operator").spawn(operator(world.client("operator"), operations))
        world.at(GLANCE, atlas.glance)
        if not world.finish(limit=300):
            raise Violation("somebody waits for ever")
        world.calm()
        _check_calm(atlas)
        atlas.check_writes()
        return atlas


def _create(client: Client) -> Scenario[None]:
    writer = ring.Writer(client.rid(""), "maker", lambda *_: None)
    with suppress(CoordError):
        yield from ring.create(RING, ring.Shape(SLOTS), writer)


def _check_calm(atlas: Atlas) -> None:
    """All that was wrong is over: three come, one dies, one comes back; every slot has an owner."""
    world = atlas.world
    world.run(world.now + OVER)
    last = [Process(world.client(f"last.{name}"), atlas) for name in "abx"]
    for process, name in zip(last, "abx", strict=True):
        process.client.spawn(_stay(process, name), daemon=True)
    atlas.world.undone += 1  # so that it is looked at
    atlas.glance()
    world.run(world.now + TTL + SOON)
    for process in last:
        if process.node is None or not process.node.held:
            raise Violation(f"{process.client.name} cannot join a ring that is calm")
    atlas.judge_cover()
    world.run(world.now + 0.5)
    last[0].client.crash()
    world.run(world.now + 2 * TTL)
    again = Process(world.client("last.again"), atlas)
    again.client.spawn(_stay(again, "a"), daemon=True)
    world.run(world.now + SOON + GRACE)
    atlas.check()
    _check_rest(atlas, [*last[1:], again])
    atlas.world.undone -= 1


def _stay(process: Process, name: str) -> Op[None]:
    yield from process.join(name)


def _check_rest(atlas: Atlas, there: list[Process]) -> None:
    """It has come to rest: each has what is to be its, and nothing is open."""
    for process in there:
        snapshot = process.local.snapshot
        if snapshot is None or process.node is None:
            raise Violation(f"{process.client.name} does not know the ring")
        if snapshot.next is not None:
            raise Violation(f"{process.client.name} sees what is not handed over")
        if {node.name for node in snapshot.nodes} != {"a", "b", "x"}:
            raise Violation(f"nodes are {snapshot.nodes}")
        if not process.node._tender.slots():
            raise Violation(f"{process.client.name} owns nothing")


# -- the kinds of episodes -----------------------------------------------------------------


def rough(seed: int, sources: Sources = None, world: Settings | None = None) -> Atlas:
    """Replies lost and late, ghosts, pauses; no data lost."""
    return episode(seed, ROUGH, sources=sources)


def crashes(seed: int, sources: Sources = None, world: Settings | None = None) -> Atlas:
    """Nodes die, more often than they leave."""
    return episode(seed, replace(ROUGH, crashes=0.5), sources=sources)


def partitions(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Atlas:
    """Some are cut off while the others go on."""
    return episode(seed, replace(ROUGH, partitions=0.5), sources=sources)


def data_loss(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Atlas:
    """The server restarts empty, or is flushed: tokens must rise all the same."""
    faults = replace(ROUGH, restarts=0.1, flushes=0.1)
    return episode(seed, faults, sources=sources)


def duplicates(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Atlas:
    """What was asked arrives again, long after it was answered."""
    faults = replace(ROUGH, duplicate=0.1, request_lost=0.1, ghost=0.1)
    return episode(seed, faults, sources=sources)


MAPS: dict[str, Callable[[int, Sources, Settings | None], Atlas]] = {
    "rough": rough,
    "crashes": crashes,
    "partitions": partitions,
    "data loss": data_loss,
    "duplicates": duplicates,
}
