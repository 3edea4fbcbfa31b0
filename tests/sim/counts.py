"""The kinds of counting episodes: which faults strike, and what is read at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coordkit._core.counters import Counters
from coordkit._core.fence import Entry, Guard
from coordkit._core.keys import counter_keys, fence_keys
from coordkit._core.lanes import Lanes
from sim.counting import HUGE, TIMEOUT, Hand, Sheet
from sim.episodes import Settings, Sources
from sim.story import CLIENTS, NAMESPACE, Violation
from sim.world import Faults, Scenario, World

COUNTERS = (
    *("any", "stock", "hits", "many 0", "many 1", "many 2"),
    *("up", "huge", "chosen", "swapped"),
)
HANDS = 2


def rough(seed: int, sources: Sources = None, world: Settings | None = None) -> Sheet:
    """Replies lost and late, ghosts, pauses, cut pipelines, interruptions."""
    return episode(seed, Faults.rough(), sources)


def twice(seed: int, sources: Sources = None, world: Settings | None = None) -> Sheet:
    """Requests arrive again, after they were answered, as a proxy of ours might do."""
    faults = replace(Faults.rough(), duplicate=0.3, ghost_delay=1.0)
    return episode(seed, faults, sources)


def crashes(seed: int, sources: Sources = None, world: Settings | None = None) -> Sheet:
    """Clients die."""
    faults = replace(Faults.rough(), crashes=0.3)
    return episode(seed, faults, sources, interrupts=0)


def orderly(seed: int, sources: Sources = None, world: Settings | None = None) -> Sheet:
    """Nothing is lost: so nothing may be unknown."""
    sheet = episode(seed, Faults(), sources, interrupts=0)
    if sheet.unknown:
        raise Violation(f"{sheet.unknown} requests were not answered, for no reason")
    return sheet


def episode(
    seed: int, faults: Faults, sources: Sources, *, interrupts: int = 2
) -> Sheet:
    """Play one episode and check it."""
    world = World(seed, faults, sources)
    sheet = Sheet(world)
    huge = counter_keys(NAMESPACE, "huge")
    world.server.store.do("HSET", huge.counter, "value", str(HUGE))
    for name in CLIENTS:
        client, lanes = world.client(name), Lanes()
        lanes.restart(client.channel)
        for _ in range(HANDS):
            task = client.spawn(Hand(client, sheet, lanes).count())
            for _ in range(interrupts):
                delay = world.rng.uniform(0, 6)
                world.at(delay, lambda task=task: task.done or task.interrupt())
    if not world.finish(limit=300):
        raise Violation("somebody waits for ever")
    world.calm()
    world.run(world.now + 8)  # stragglers arrive
    sheet.check(*_ends(world))
    return sheet


def _ends(world: World) -> tuple[dict[str, int], list[Entry]]:
    client, lanes = world.client("reader"), Lanes()
    lanes.restart(client.channel)
    counters = Counters(NAMESPACE, lanes=lanes, timeout=TIMEOUT, scatter=False)
    log = Guard("log", fence_keys(NAMESPACE, "log"), lanes, TIMEOUT)
    found: dict[str, int] = {}
    journal: list[Entry] = []

    def read() -> Scenario[None]:
        journal.extend((yield from log.journal(0, 1000)))
        found["swaps"] = int((yield from log.get("n")) or 0)
        for name in COUNTERS:
            found[name] = yield from counters.tally(name).value()

    task: Any = client.spawn(read())
    world.run(world.now + 3)
    if not task.done or task.error:
        raise Violation(f"the counters cannot be read: {task!r}")
    return found, journal


EPISODES: dict[str, Callable[[int, Sources, Settings], Sheet]] = {
    "rough": rough,
    "twice": twice,
    "crashes": crashes,
    "orderly": orderly,
}
