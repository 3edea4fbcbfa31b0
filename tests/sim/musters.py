"""The kinds of musters: which faults strike, and what else must be true."""

from __future__ import annotations

from dataclasses import replace

from coordkit._core.members import Died
from sim.episodes import Settings, Sources
from sim.muster import CIRCLE, CLIENTS, TTL, WATCHERS, Muster
from sim.story import Violation
from sim.world import Faults, World

SOON = 0.35
"""A message, and the reconnection of a line, take no longer."""
FROZEN = 2.5 * TTL


def muster(world: World, *, interrupts: bool = True) -> Muster:
    """Play one episode and check it."""
    made = Muster(world)
    for name in WATCHERS:
        made.watch(world.client(name))
    tasks = [
        world.client(name).spawn(made.member(world.client(name))) for name in CLIENTS
    ]
    for task in tasks if interrupts else ():
        for _ in range(3):
            delay = world.rng.uniform(0, 6)
            world.at(delay, lambda task=task: task.done or task.interrupt())
    if not world.finish(limit=300):
        raise Violation("somebody joins for ever")
    world.calm()
    world.run(world.now + 8)
    made.check()
    return made


# -- the kinds of episodes -----------------------------------------------------------------


def rough(seed: int, sources: Sources = None, world: Settings | None = None) -> Muster:
    """Replies lost and late, ghosts, pauses, interruptions; no data lost."""
    return muster(World(seed, Faults.rough(), sources))


def crashes(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Muster:
    """Members and watchers die."""
    faults = replace(Faults.rough(), crashes=0.3)
    return muster(World(seed, faults, sources), interrupts=False)


def partitions(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Muster:
    """Some are cut off, and come back when they have been buried."""
    faults = replace(Faults.rough(), partitions=0.5)
    return muster(World(seed, faults, sources))


def ghosts(seed: int, sources: Sources = None, world: Settings | None = None) -> Muster:
    """Many a question arrives when nobody wants it any more."""
    faults = replace(Faults.rough(), ghost=0.15, reply_lost=0.1)
    return muster(World(seed, faults, sources))


def data_loss(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Muster:
    """The server restarts empty, or is flushed: the group is born anew."""
    faults = replace(Faults.rough(), restarts=0.15, flushes=0.15)
    return muster(World(seed, faults, sources))


def evictions(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Muster:
    """Now and then one of the group's keys is gone."""
    here = World(seed, Faults.rough(), sources)
    for _ in range(6):
        here.at(here.rng.uniform(0.5, 5), _evict, here)
    return muster(here)


def _evict(here: World) -> None:
    keys = CIRCLE.keys
    here.losses.append(here.now)
    here.server.store.do("DEL", here.rng.choice([keys.group, keys.alive, keys.log]))


def orderly(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Muster:
    """Nothing is lost: every change is told at once, and one by one."""
    here = World(seed, Faults(reconnect=0.2), sources, **(world or {}))
    made = Muster(here)
    for name in WATCHERS:
        made.watch(here.client(name))
    for name in CLIENTS:
        here.client(name).spawn(made.member(here.client(name)))
    for _ in range(10):  # a connection that breaks and comes back
        victim = here.client(here.rng.choice([*CLIENTS, *WATCHERS]))
        here.at(here.rng.uniform(0.5, 4), victim.disconnect)
    if not here.finish(limit=120):
        raise Violation("somebody joins for ever")
    here.run(here.now + 3)
    made.check()
    for watch in made.watches:
        if watch.all_told > 1:
            raise Violation(f"all members were told {watch.all_told} times")
    _seen_soon(made)
    return made


def _seen_soon(made: Muster) -> None:
    """A change is told when it happens, a death when the ttl is over."""
    for watch in made.watches:
        for at, event in watch.sight.told:
            version = getattr(event, "version", None)
            began = made.began.get((watch.birth, version or 0))
            if began is not None and at - began > SOON:
                raise Violation(f"{event} was told only {at - began:.3f} s later")
            if isinstance(event, Died):
                silent = made.silent[event.member.holder]
                if at - silent > TTL + SOON:
                    raise Violation(f"{event} was told {at - silent:.3f} s after it")


def mass(seed: int, sources: Sources = None, world: Settings | None = None) -> Muster:
    """The server stands still for longer than a ttl: that is no death of so many."""
    here = World(seed, Faults(), sources)
    made = Muster(here)
    for name in WATCHERS:
        made.watch(here.client(name))
    for name in CLIENTS:
        here.client(name).spawn(made.resident(here.client(name)))
    here.at(2, here.server.pause, FROZEN)
    if seed % 2:  # it may be members who come back first, and not who watches
        for name in WATCHERS:
            here.at(2, here.client(name).pause, FROZEN + TTL)
    here.run(10)
    made.check()
    for watch in made.watches:
        died = [e for _, e in watch.sight.told if isinstance(e, Died)]
        if len(died) < len(CLIENTS) - 1 or not all(each.mass for each in died):
            raise Violation(f"nobody is told that it was all of them: {died}")
    return made


MUSTERS = {
    "rough": rough,
    "crashes": crashes,
    "partitions": partitions,
    "ghosts": ghosts,
    "data loss": data_loss,
    "evictions": evictions,
    "orderly": orderly,
    "mass": mass,
}
