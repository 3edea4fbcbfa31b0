"""The kinds of races: which faults strike, and what else must be true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordkit._core.terms import Elected
from sim.campaign import CANDIDATES, OBSERVERS, SOON, Race
from sim.episodes import Settings, Sources
from sim.story import LOOK, Violation, takes_at_once
from sim.world import Faults, World


def race(
    seed: int,
    faults: Faults,
    *,
    sources: Sources = None,
    interrupts: bool = True,
    operations: int = 6,
    only_pauses: bool = False,
    **times: Any,
) -> Race:
    """Play one episode and check it."""
    world = World(seed, faults, sources)
    made = Race(world, **times)
    for name in OBSERVERS:
        made.observe(world.client(name))
    tasks = [
        world.client(name).spawn(made.candidate(world.client(name)))
        for name in CANDIDATES
    ]
    op = world.client("operator")
    op.spawn(made.operator(op, operations, only_pauses=only_pauses))
    if interrupts:
        for task in tasks:
            for _ in range(3):
                delay = world.rng.uniform(0, 8)
                world.at(delay, lambda task=task: task.done or task.interrupt())
    world.at(LOOK, made.ledger.look)
    if not world.finish(limit=300):
        raise Violation("somebody waits for ever")
    world.calm()
    world.run(world.now + 8)
    made.ledger.look()
    made.check()
    takes_at_once(world, made.ledger)
    return made


# -- the kinds of episodes -----------------------------------------------------------------


def rough(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """Replies lost and late, ghosts, pauses, interruptions; no data lost."""
    return race(seed, Faults.rough(), sources=sources)


def crashes(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """Candidates, leaders and observers die."""
    faults = replace(Faults.rough(), crashes=0.3)
    return race(seed, faults, sources=sources, interrupts=False, operations=0)


def partitions(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Race:
    """Some are cut off, leaders and observers too, while the others go on."""
    return race(seed, replace(Faults.rough(), partitions=0.5), sources=sources)


def data_loss(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Race:
    """The server restarts empty, or is flushed: terms must rise all the same."""
    faults = replace(Faults.rough(), restarts=0.15, flushes=0.15)
    return race(seed, faults, sources=sources)


def delayed(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """After a term that was not resigned the seat stays empty for a while."""
    return race(seed, Faults.rough(), sources=sources, handover_delay=0.3)


def ghosts(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """Many a question arrives when nobody wants it any more."""
    faults = replace(Faults.rough(), ghost=0.15, reply_lost=0.1)
    return race(seed, faults, sources=sources)


def limited(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """Terms are over after a while, by the leaders' own clocks."""
    return race(seed, Faults.rough(), sources=sources, max_term=0.8)


def paused(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """It is paused and resumed again and again, and answers get lost."""
    faults = replace(Faults.rough(), ghost=0.1, reply_lost=0.3)
    return race(seed, faults, sources=sources, operations=20, only_pauses=True)


def orderly(seed: int, sources: Sources = None, world: Settings | None = None) -> Race:
    """Nothing is lost: who is elected is always the first in line."""
    here = World(seed, Faults(reconnect=0.2), sources, **(world or {}))
    made = Race(here, waiter_ttl=2.0)
    made.judge_order = True
    for name in OBSERVERS:
        made.observe(here.client(name))
    for name in CANDIDATES:
        here.client(name).spawn(made.candidate(here.client(name)))
    operator = here.client("operator")
    operator.spawn(made.operator(operator))
    for _ in range(25):  # a connection that breaks and comes back
        victim = here.client(here.rng.choice([*CANDIDATES, *OBSERVERS]))
        here.at(here.rng.uniform(0.5, 4), victim.disconnect)
    if not here.finish(limit=120):
        raise Violation("somebody waits for ever")
    here.run(here.now + 3)
    made.check()
    _seen_soon(made)
    return made


def _seen_soon(made: Race) -> None:
    """A change is told when it happens, or when one would ask anyway."""
    began = {term.token: term.at for term in made.terms}
    for sight in made.sights:
        for at, event in sight.told[1:]:
            if isinstance(event, Elected) and at - began[event.leader.token] > SOON:
                raise Violation(f"{event} was told only at {at:.3f}")


RACES = {
    "rough": rough,
    "crashes": crashes,
    "partitions": partitions,
    "data loss": data_loss,
    "delayed": delayed,
    "ghosts": ghosts,
    "limited": limited,
    "paused": paused,
    "orderly": orderly,
}
