"""
What the clients of a lock episode do, and what must be true of it.

Five clients, each with the shipped keeper, take one lock again and again: they wait
or do not, give up, are interrupted, work under the lease, write through a fence,
release, or walk away and let it run out.  The `Ledger` notes what each believed, at
true instants; `Ledger.check` decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise

from coordkit._core.claim import Claim, Options, lock_options
from coordkit._core.fence import Guard
from coordkit._core.keeper import Keeper
from coordkit._core.keys import fence_keys
from coordkit._core.lanes import Lanes
from coordkit._core.lock import LockLease, acquire, release
from coordkit.errors import CoordError, StaleToken
from sim.world import Client, Faults, Scenario, World

NAMESPACE = "sim"
CLIENTS = "abcde"
ROUNDS = 8
#: How often the ledger looks whether a request that has ended holds the lock.
LOOK = 0.05


class Violation(AssertionError):
    """Something that must never happen has happened."""


def options(**changes: object) -> Options:
    """Options of a lock, short-lived so that an episode is short."""
    given: dict[str, object] = {
        "ttl": 0.6,
        "fair": True,
        "shared": False,
        "slots": None,
        "hold_at_least": 0.0,
        "max_hold": None,
        "lock_delay": 0.0,
        "waiter_ttl": 0.5,
        "meta": None,
    }
    return lock_options(NAMESPACE, "x", **(given | changes))  # type: ignore[arg-type]  # a dict of options


@dataclass
class Grant:
    """One lease, at true instants."""

    rid: str
    lease: LockLease
    client: Client
    asked: float
    heard: float
    waited_since: float
    released: float | None = None
    lasts: float = 0.0

    @property
    def end(self) -> float:
        """When its holder stopped believing."""
        deadline = self.client.world_time(self.lease.deadline)
        ends = [deadline]
        if self.released is not None:
            ends.append(self.released)
        if self.client.crashed_at is not None:
            ends.append(self.client.crashed_at)
        return min(ends)


@dataclass
class Ledger:
    """What happened in an episode."""

    world: World
    claim: Claim
    grants: list[Grant] = field(default_factory=list)
    #: every request there was
    issued: set[str] = field(default_factory=set)
    #: requests whose operation said that they left nothing behind
    over: set[str] = field(default_factory=set)
    gave_up: int = 0
    #: what the fence admitted: asked, heard, token
    writes: list[tuple[float, float, int]] = field(default_factory=list)
    refused: int = 0

    def end(self, rid: str, keeper: Keeper) -> None:
        """Note that the operation of this request has ended without a lease."""
        self.gave_up += 1
        if all(deferred.call.args[0] != rid for deferred in keeper._deferred):
            self.over.add(rid)

    def look(self) -> None:
        """Look, every now and then, whether who gave up holds the lock or waits for it."""
        store, keys = self.world.server.store, self.claim.keys
        holder = store.do("HGET", keys.lock, "rid")
        waiting = store.do("ZRANGE", keys.queue, 0, -1)
        shared = store.do("ZRANGE", keys.holders, 0, -1)
        for rid in (each.decode() for each in (holder, *waiting, *shared) if each):
            if rid not in self.issued:
                raise Violation(f"nobody knows request {rid}, which is on the server")
            if rid in self.over and not self.world.losses:  # lost with its tombstone
                raise Violation(f"request {rid} is over, and still on the server")
        if self.world.undone:
            self.world.at(LOOK, self.look)

    # -- the checks -----------------------------------------------------------------

    def check(self) -> None:
        """Decide about the whole episode."""
        self._at_most(1 if self.claim.limit is None else self.claim.limit or math.inf)
        self._tokens_rise()
        if not self.world.losses:
            self._writes_in_order()

    def _at_most(self, limit: float) -> None:
        """No more leases at once than allowed; after a loss of data, for one ttl."""
        excused = self.claim.ttl * 1.01 if self.world.losses else 0.0
        ordered = sorted(self.grants, key=lambda grant: grant.heard)
        for i, grant in enumerate(ordered):
            beside = [g for g in ordered[:i] if g.end > grant.heard + excused]
            if grant.end > grant.heard + excused and len(beside) >= limit:
                raise Violation(
                    f"{grant.lease.token} was held from {grant.heard:.6f} to "
                    f"{grant.end:.6f}, {beside[-1].lease.token} until {beside[-1].end:.6f}"
                )

    def _tokens_rise(self) -> None:
        by_token = sorted(self.grants, key=lambda grant: grant.lease.token)
        for lower, higher in pairwise(by_token):
            if lower.lease.token == higher.lease.token:
                raise Violation(f"token {lower.lease.token} was handed out twice")
        latest = 0.0
        for (
            grant
        ) in by_token:  # nobody with a lower token may have asked after we heard
            if latest > grant.heard:
                raise Violation(
                    f"token {grant.lease.token} is not the highest of its time"
                )
            # Beside others, a request may have been granted by a question before the last.
            asked = grant.asked if self.claim.limit is None else grant.waited_since
            latest = max(latest, asked)

    def _writes_in_order(self) -> None:
        """What was asked after a newer token was heard to be admitted is not admitted."""
        for asked, _, token in self.writes:
            newer = [t for _, heard, t in self.writes if heard < asked and t > token]
            if newer:
                raise Violation(f"the fence admitted {token} after {max(newer)}")


def maker(
    client: Client, ledger: Ledger, keeper: Keeper, rid: str
) -> Callable[[int, float, float], LockLease]:
    """Return what makes the lease of this request, as a session does."""
    since = client.world.now

    def make(token: int, asked_at: float, lasts: float) -> LockLease:
        lease = LockLease(ledger.claim, rid, token, asked_at, lasts, clock=client.clock)
        asked, heard = client.world_time(asked_at), client.world.now
        ledger.grants.append(Grant(rid, lease, client, asked, heard, since))
        if keeper.add(lease, asked_at):
            client.stir()
        return lease

    return make


def keeper_of(client: Client) -> Keeper:
    """Start the shipped keeper on a client."""
    keeper = Keeper(guard=nullcontext(), draw=client.world.rng.random)
    client.deferral = keeper.defer
    client.spawn(keeper.keep(), name=f"{client.name}.keeper", daemon=True)
    return keeper


def worker(client: Client, ledger: Ledger, rounds: int = ROUNDS) -> Scenario[None]:
    """Take the lock again and again."""
    rng, keeper = client.world.rng, keeper_of(client)
    for _ in range(rounds):
        with suppress(KeyboardInterrupt):  # nothing is under way
            yield rng.uniform(0, 0.4)
        rid = client.rid(ledger.claim.mode)
        ledger.issued.add(rid)
        yield from _round(client, ledger, keeper, rid)


def _round(client: Client, ledger: Ledger, keeper: Keeper, rid: str) -> Scenario[None]:
    rng = client.world.rng
    try:
        lease = yield from acquire(
            ledger.claim,
            rid,
            maker(client, ledger, keeper, rid),
            now=client.clock(),
            timeout=rng.choice([None, 0.3, 1.5]),
            queue=rng.random() < 0.85,
            listening=client.subscribed,
        )
    except (CoordError, KeyboardInterrupt):
        lease = None
    if lease is None:
        ledger.end(rid, keeper)
        return
    yield from use(client, ledger, keeper, lease)


def use(
    client: Client, ledger: Ledger, keeper: Keeper, lease: LockLease, why: str = ""
) -> Scenario[None]:
    """Work under a lease, then give it back, saying *why*, or walk away."""
    rng, rid = client.world.rng, lease.holder
    grant = next(g for g in reversed(ledger.grants) if g.lease is lease)
    try:
        if rng.random() < 0.1:
            keeper.drop(lease)  # as if this process were frozen: the lease runs out
            yield rng.uniform(0.5, 2)
        yield from _work(client, ledger, lease)
        if rng.random() < 0.25:
            return  # walks away: the lease runs out
        grant.released = client.world.now
        keeper.drop(lease)
        yield from release(lease, why)
        ledger.over.add(rid)
    except (CoordError, KeyboardInterrupt):
        pass  # lost, unknown, or cut short: it ends by its ttl at the latest
    finally:
        keeper.drop(lease)


def _work(client: Client, ledger: Ledger, lease: LockLease) -> Scenario[None]:
    rng = client.world.rng
    careless = rng.random() < 0.4  # does not look at the lease before it writes
    for _ in range(rng.randrange(4)):
        yield rng.expovariate(3)
        if not (lease.held or careless):
            return
        asked = client.world.now
        try:
            fence = Guard("r", fence_keys(NAMESPACE, "r"), Lanes(), 2.0)
            yield from fence.check(lease.token)
        except StaleToken:
            ledger.refused += 1
        else:
            ledger.writes.append((asked, client.world.now, lease.token))


def episode(
    seed: int,
    faults: Faults,
    *,
    sources: dict[str, str] | None = None,
    interrupts: bool = True,
    **changes: object,
) -> Ledger:
    """Play one episode and check it."""
    world = World(seed, faults, sources)
    claim = options(**changes).claim("sim", 2.0)
    ledger = Ledger(world, claim)
    tasks = [
        world.client(name).spawn(worker(world.client(name), ledger)) for name in CLIENTS
    ]
    if interrupts:
        for task in tasks:
            for _ in range(3):
                delay = world.rng.uniform(0, 8)
                world.at(delay, lambda task=task: task.done or task.interrupt())
    world.at(LOOK, ledger.look)
    if not world.finish(limit=300):
        raise Violation("somebody waits for ever")
    world.calm()
    world.run(world.now + 8)
    ledger.look()
    ledger.check()
    takes_at_once(world, ledger)
    return ledger


def takes_at_once(world: World, ledger: Ledger) -> None:
    """All that was wrong is over: a newcomer must find the lock free."""
    client = world.client("newcomer")
    keeper, rid = keeper_of(client), client.rid(ledger.claim.mode)
    ledger.issued.add(rid)
    task = client.spawn(
        acquire(
            ledger.claim,
            rid,
            maker(client, ledger, keeper, rid),
            now=client.clock(),
            timeout=None,
            queue=False,
            listening=False,
        )
    )
    world.run(world.now + 3)
    if not task.done or task.result is None:
        raise Violation(f"the lock is not free for a newcomer: {task!r}")
