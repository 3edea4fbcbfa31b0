"""The kinds of episodes: which faults strike, and what else must be true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from coordkit._core.lock import acquire, release
from coordkit._core.ops import Op
from coordkit.errors import CoordError
from sim.story import (
    CLIENTS,
    Ledger,
    Violation,
    episode,
    keeper_of,
    maker,
    options,
    worker,
)
from sim.world import Client, Faults, Scenario, World

T = TypeVar("T")
Sources = dict[str, str] | None
Settings = dict[str, Any]

GLANCE = 0.01
"""How often the lock is looked at, in seconds."""
LONGEST_FREE = 0.03
"""A lock that ran out is free for no longer while somebody waits: he knows when to ask."""


def rough(seed: int, sources: Sources = None, world: Settings | None = None) -> Ledger:
    """Replies lost and late, ghosts, pauses, interruptions; no data lost."""
    return episode(seed, Faults.rough(), sources=sources)


def crashes(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Ledger:
    """Clients die, in the queue and with the lock."""
    faults = replace(Faults.rough(), crashes=0.3)
    return episode(seed, faults, sources=sources, interrupts=False)


def data_loss(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Ledger:
    """The server restarts empty, or is flushed: tokens must rise all the same."""
    faults = replace(Faults.rough(), restarts=0.15, flushes=0.15)
    return episode(seed, faults, sources=sources)


def shared(seed: int, sources: Sources = None, world: Settings | None = None) -> Ledger:
    """Any number hold it at once; each entry ends by itself."""
    return episode(seed, Faults.rough(), sources=sources, shared=True)


def slots(seed: int, sources: Sources = None, world: Settings | None = None) -> Ledger:
    """Two at most hold it at once."""
    return episode(seed, Faults.rough(), sources=sources, slots=2)


def delayed(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Ledger:
    """After a lease that ran out the lock stays closed for a while."""
    return episode(seed, Faults.rough(), sources=sources, lock_delay=0.3)


# -- an orderly day: nothing is lost, so order, wakes and requests can be judged ------


def orderly(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Ledger:
    """First come first served; a hand-over takes one wake and a few requests."""
    made = World(seed, Faults(reconnect=0.2), sources, **(world or {}))
    ledger = Ledger(made, options(waiter_ttl=2.0).claim("sim", 2.0))
    queued: list[str] = []
    for name in CLIENTS:
        made.client(name).spawn(_waiter(made.client(name), ledger, queued))
    for _ in range(6):  # a connection that breaks and comes back
        victim = made.client(made.rng.choice(CLIENTS))
        made.at(made.rng.uniform(0.5, 4), victim.disconnect)
    made.at(GLANCE, _glance, ledger, 0.0)
    if not made.finish(limit=120):
        raise Violation("somebody waits for ever")
    ledger.check()
    _check_order(ledger, queued)
    _check_cost(ledger)
    return ledger


def _glance(ledger: Ledger, free_since: float) -> None:
    """See, every now and then, that the lock is not free while somebody waits."""
    world, keys = ledger.world, ledger.claim.keys
    store = world.server.store
    waits = store.do("EXISTS", keys.queue) and not store.do("EXISTS", keys.lock)
    free_since = (free_since or world.now) if waits else 0.0
    if waits and world.now - free_since > LONGEST_FREE:
        raise Violation(f"a free lock found no waiter for {LONGEST_FREE} s")
    if world.undone:
        world.at(GLANCE, _glance, ledger, free_since)


def _waiter(client: Client, ledger: Ledger, queued: list[str]) -> Scenario[None]:
    rng, keeper = client.world.rng, keeper_of(client)
    for turn in range(8):
        yield rng.uniform(0, 0.05)
        rid = client.rid()
        ledger.issued.add(rid)
        lease = None
        try:
            lease = yield from _noted(
                acquire(
                    ledger.claim,
                    rid,
                    maker(client, ledger, keeper, rid),
                    now=client.clock(),
                    timeout=0.1 if turn % 4 == 3 else None,
                    queue=True,
                    listening=client.subscribed,
                ),
                ledger,
                queued,
            )
        except TimeoutError:
            ledger.gave_up += 1
            continue
        assert lease is not None
        yield rng.uniform(0.01, 0.08)
        if rng.random() < 0.1:
            keeper.drop(lease)  # walks away: the lease runs out
            continue
        ledger.grants[-1].released = client.world.now
        keeper.drop(lease)
        yield from release(lease)


def _noted(op: Op[T], ledger: Ledger, queued: list[str]) -> Op[T]:
    """Run an operation; note the order in which requests enter the queue."""
    store, queue = ledger.world.server.store, ledger.claim.keys.queue
    request = next(op)
    while True:
        try:
            answer = yield request
        except CoordError as error:
            go_on = partial(op.throw, error)
        else:
            waiting = [rid.decode() for rid in store.do("ZRANGE", queue, 0, -1)]
            queued.extend(rid for rid in waiting if rid not in queued)
            if answer.value and answer.value[0] == b"taken":
                _check_turn(request, int(answer.value[1]), ledger, queued)
            go_on = partial(op.send, answer)
        try:
            request = go_on()
        except StopIteration as stop:
            result: T = stop.value
            return result


def _check_turn(request: Any, token: int, ledger: Ledger, queued: list[str]) -> None:
    """Tokens and places in the queue are both counted in microseconds of the server."""
    store, queue = ledger.world.server.store, ledger.claim.keys.queue
    first = store.do("ZRANGE", queue, 0, 0, "WITHSCORES")
    if first and float(first[1]) < token and request.args[0] not in queued:
        raise Violation("a newcomer was served before those who wait")


def _check_order(ledger: Ledger, queued: list[str]) -> None:
    granted = [
        grant.rid for grant in sorted(ledger.grants, key=lambda g: g.lease.token)
    ]
    waited = [rid for rid in granted if rid in queued]
    expected = [rid for rid in queued if rid in waited]
    if waited != expected:
        raise Violation("those who queued were not served in the order they came")


def _check_cost(ledger: Ledger) -> None:
    counts, grants = ledger.world.counts, len(ledger.grants)
    if counts["woken"] > grants + ledger.gave_up + counts["disconnect"] + 10:
        raise Violation(f"{counts['woken']} wakes for {grants} grants")
    ordered = sorted(ledger.grants, key=lambda grant: grant.heard)
    for before, after in pairwise(ordered):
        if before.released is None:
            continue  # it ran out, on the server's clock
        delay = after.heard - max(before.released, after.waited_since)
        if delay > 0.35:  # longer than a reconnection takes
            raise Violation(f"a free lock found its waiter after {delay:.3f} s")


# -- readers and writers on one name --------------------------------------------------


def readers_and_writers(
    seed: int, sources: Sources = None, world: Settings | None = None
) -> Ledger:
    """Who holds it alone holds it beside nobody; writers are not starved."""
    made = World(seed, Faults.rough(), sources)
    claims = [options().claim("sim", 2.0), options(shared=True).claim("sim", 2.0)]
    ledgers = [Ledger(made, claim) for claim in claims]
    for i, name in enumerate(CLIENTS):
        made.client(name).spawn(worker(made.client(name), ledgers[i % 2]))
    if not made.finish(limit=300):
        raise Violation("somebody waits for ever")
    made.calm()
    made.run(made.now + 8)
    alone, together = ledgers
    alone.check()
    for writer in alone.grants:
        for reader in together.grants:
            starts, ends = max(writer.heard, reader.heard), min(writer.end, reader.end)
            if starts < ends:
                raise Violation(
                    f"a writer and a reader from {starts:.6f} to {ends:.6f}"
                )
    return alone


EPISODES: dict[str, Callable[[int, Sources, Settings], Ledger]] = {
    "rough": rough,
    "crashes": crashes,
    "data loss": data_loss,
    "shared": shared,
    "slots": slots,
    "delayed": delayed,
    "orderly": orderly,
    "readers and writers": readers_and_writers,
}
