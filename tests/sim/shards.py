"""
What the live nodes of a ring do, and what must be true of it.

Five processes join one ring, each as a node with the shipped keeper and follower; they
work on keys under the tokens of their slots, take their time before they hand over, leave,
walk away, die, and come back under the same name.  An operator changes weights, and takes
nodes out.  The `Atlas` looks at what each believes at the instant at which it begins to
believe it, and every few milliseconds; frozen processes count, for they may wake up.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from coordkit._core import group, ring
from coordkit._core.fence import Guard
from coordkit._core.follow import Follower
from coordkit._core.keeper import Keeper
from coordkit._core.keys import fence_keys
from coordkit._core.lanes import Lanes
from coordkit._core.ops import Op, Reply, Tell
from coordkit._core.ring_change import wanted
from coordkit._core.ring_local import LocalRing
from coordkit._core.ring_member import Assigned, NodeLease, live_circle, live_record
from coordkit._core.ring_node import Node
from coordkit._core.ring_read import ring_id
from coordkit._core.ring_snapshot import Snapshot
from coordkit._core.ring_tend import Tender
from coordkit.errors import CoordError, StaleToken
from sim.story import NAMESPACE, Violation, keeper_of
from sim.world import Client, Scenario, World

NODES = "abcde"
#: Few, so that an episode is short.
SLOTS = 64
TTL, GRACE = 0.6, 3.0
TIMEOUT = 0.4
#: How often it is looked at what everybody believes.
GLANCE = 0.01
#: No key is without an owner for longer, once nothing goes wrong any more.
SOON = TTL + 1.0
RING = ring_id(NAMESPACE, "jobs", TIMEOUT)
CIRCLE = live_circle(NAMESPACE, RING, TTL, TIMEOUT)
#: Keys that are worked on: of different slots, most likely.
KEYS = [f"job:{n}" for n in range(6)]
ALL = (1 << (8 * SLOTS)) // 255  # a byte of 1 for each slot


class _Seen(LocalRing):
    """What a process knows of a ring; it is looked at whenever that changes."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        super().__init__(RING, 5.0, nullcontext(), lambda _: None)

    def adopt(self, snapshot: Snapshot, asked_at: float, heard_at: float) -> None:
        super().adopt(snapshot, asked_at, heard_at)
        self._atlas.check()


class _Node(NodeLease):
    """A node without an engine."""

    __slots__ = ("_tender",)


class Process:
    """One process of the fleet: a client with what stands behind a session."""

    def __init__(self, client: Client, atlas: Atlas) -> None:
        self.client = client
        self.atlas = atlas
        self.node: NodeLease | None = None
        self.keeper: Keeper = keeper_of(client)
        self.local = _Seen(atlas)
        self.follower = Follower(guard=nullcontext())
        self.followed = False
        self._rid = client.rid("")

    def wake(self, rid: str) -> None:
        """End the wait for a request."""
        if (box := self.client.mailboxes.get(rid)) is not None:
            box.put(None)

    def stir(self) -> None:
        """Have the follower look."""
        self.wake(self._rid)

    def rid(self) -> str:
        """A new request id."""
        return self.client.rid("")

    def made(self, name: str, rid: str, token: int, asked_at: float) -> NodeLease:
        """Make the lease of a node, as a session does."""
        record = live_record(Node(name), GRACE)
        given = CIRCLE, record, rid, token, asked_at
        node = _Node(*given, rejoins=True, clock=self.client.clock)
        ways = self.rid, self.stir, self.wake
        node._tender = Tender(RING, self.local, CIRCLE, node, *ways)
        if self.keeper.add(node, asked_at):
            self.client.stir()
        self.node = node
        self.atlas.processes.append(self)
        return node

    def join(self, name: str) -> Op[NodeLease]:
        """Join the ring as that node."""
        rid = self.rid()
        record, make = live_record(Node(name), GRACE), partial(self.made, name, rid)
        now = self.client.clock()
        node = yield from group.join(CIRCLE, record, rid, make, now=now, replace=False)
        try:
            self.follower.add(self.local)
            yield from node._tender.enter()
        except BaseException:
            self.keeper.drop(node)
            raise
        self.follower.attend(node._tender)
        if not self.followed:
            self.followed = True
            name = f"{self.client.name}.follower"
            op = self.follower.follow(self._rid)
            self.client.spawn(op, name=name, daemon=True)
        self.stir()
        return node


class Atlas:
    """All the processes of a world, and what must be true of what they believe."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: list[Process] = []
        #: node and membership that each token of a slot was seen at, by key
        self.tokens: dict[tuple[str, int], tuple[str, int]] = {}
        self.writes: list[tuple[str, float, float, int]] = []
        self.refused = self.joins = self.assigned = self.revoked = 0
        #: what nobody has had since when; only judged while this is a list
        self._bare: list[tuple[float, int]] | None = None
        self.longest_bare = 0.0
        self._checking = False

    def believed(self) -> Iterable[tuple[Process, int]]:
        """Yield who believes to own which slots, as a number with a byte for each."""
        for process in self.processes:
            if process.client.crashed or process.node is None:
                continue
            held = process.node._tender.held()
            if held is not None:
                yield process, int.from_bytes(held[1], "little")

    def check(self) -> None:
        """See that no slot has two owners; and none for long."""
        if self._checking:
            return
        owned = 0
        for process, slots in self.believed():
            if twice := owned & slots:
                self._twice(process, twice)
            owned |= slots
        self._excused_losses()
        if self._bare is not None:
            self._uncovered(ALL & ~owned)

    def _excused_losses(self) -> None:
        pass

    def _twice(self, process: Process, twice: int) -> None:
        """Two own a slot: excused for a ttl after a loss of data only."""
        losses = self.world.losses
        if losses and self.world.now - losses[-1] < 1.05 * TTL + TIMEOUT:
            return
        slot = (twice & -twice).bit_length() // 8
        who = [p for p, slots in self.believed() if slots >> (8 * slot) & 1]
        told = [
            (p.client.name, p.node, p.local.snapshot and p.local.snapshot.version)
            for p in who
        ]
        raise Violation(f"slot {slot} has {len(who)} owners: {told}")

    def _uncovered(self, bare: int) -> None:
        now, kept = self.world.now, list[tuple[float, int]]()
        for since, slots in self._bare or ():
            if still := slots & bare:
                kept.append((since, still))
                bare &= ~still
        if bare:
            kept.append((now, bare))
        self._bare = kept
        if kept:
            longest = now - kept[0][0]
            self.longest_bare = max(self.longest_bare, longest)
            if longest > SOON:
                raise Violation(f"slots had no owner for {longest:.3f} s")

    def glance(self) -> None:
        """Look every now and then."""
        self.check()
        if self.world.undone:
            self.world.at(GLANCE, self.glance)

    def judge_cover(self) -> None:
        """From now on nothing goes wrong: every slot has an owner, soon and always."""
        self._bare = []

    # -- the work -------------------------------------------------------------------

    def work(self, process: Process, node: NodeLease) -> Scenario[None]:
        """Write something for keys that are its own, some of them too late."""
        rng, client = self.world.rng, process.client
        for _ in range(rng.randrange(1, 5)):
            key = rng.choice(KEYS)
            token = node.token_of(key)
            if token is None:
                yield 0.02
                continue
            self._note(key, token, node)
            if rng.random() < 0.4:
                yield rng.expovariate(1)  # careless: does not look again
            asked = self.world.now
            guard = Guard(key, fence_keys(NAMESPACE, key), Lanes(), TIMEOUT)
            try:
                yield from guard.check(token)
            except StaleToken:
                self.refused += 1
            else:
                self.writes.append((key, asked, self.world.now, token))
            yield client.world.rng.uniform(0, 0.1)

    def _note(self, key: str, token: int, node: NodeLease) -> None:
        """One token, one membership: another never has it."""
        who = (node.identity, node.token)
        first = self.tokens.setdefault((key, token), who)
        if first != who:
            raise Violation(f"token {token} of {key!r} was had by {first} and {who}")

    def check_writes(self) -> None:
        """What was asked after a newer token was heard to be admitted is not admitted."""
        if self.world.losses:
            return
        for key in KEYS:
            newest: list[tuple[float, int]] = []
            for _, asked, heard, token in sorted(
                (w for w in self.writes if w[0] == key), key=lambda w: w[1]
            ):
                late = [t for at, t in newest if at < asked and t > token]
                if late:
                    raise Violation(f"{key!r}: {token} was admitted after {late[0]}")
                newest.append((heard, token))


# -- what they do ---------------------------------------------------------------------


def life(atlas: Atlas, name: str, rounds: int) -> Scenario[None]:
    """A node that comes and goes, in one process after another, which may be killed."""
    world, rng = atlas.world, atlas.world.rng
    for turn in range(rounds):
        process = Process(world.client(f"{name}.{turn}"), atlas)
        task = process.client.spawn(_turn(atlas, process, name))
        while not task.done:
            yield 0.05
        yield rng.uniform(0, 0.6)


def _turn(atlas: Atlas, process: Process, name: str) -> Scenario[None]:
    rng = atlas.world.rng
    try:
        node = yield from process.join(name)
    except (CoordError, KeyboardInterrupt):
        return
    atlas.joins += 1
    if rng.random() < 0.6:
        process.client.spawn(listener(atlas, process, node), daemon=True)
    until = atlas.world.now + rng.uniform(0.3, 3)
    while atlas.world.now < until:
        with suppress(CoordError, KeyboardInterrupt):
            yield from atlas.work(process, node)
        yield rng.uniform(0, 0.2)
    end = rng.random()
    if end < 0.3:
        process.client.crash()
    elif end < 0.4:
        process.keeper.drop(node)  # walks away: its lease runs out
        yield 1.5 * TTL
        process.client.crash()
    else:
        process.keeper.drop(node)
        with suppress(CoordError, KeyboardInterrupt):
            yield from node._leaving()
        process.client.crash()


def listener(atlas: Atlas, process: Process, node: NodeLease) -> Op[None]:
    """Ask for what changes; end what was begun before it asks for more."""
    op = node._tender.changes(process.rid())
    request: Any = next(op)
    while True:
        if isinstance(request, Tell):
            now = process.client.clock()
            if isinstance(request.value, Assigned):
                atlas.assigned += 1
            else:
                atlas.revoked += 1
                yield atlas.world.rng.uniform(0, 0.1)  # type: ignore[misc]  # a scenario's sleep
            go_on = partial(op.send, Reply(None, now, process.client.clock()))
        else:
            try:
                answer = yield request
            except CoordError as error:
                go_on = partial(op.throw, error)
            else:
                go_on = partial(op.send, answer)
        try:
            request = go_on()
        except StopIteration:
            return


def operator(client: Client, times: int) -> Scenario[None]:
    """Change weights, and take nodes out."""
    rng = client.world.rng
    for _ in range(times):
        yield rng.uniform(0.2, 2)
        name = rng.choice(NODES)
        change = (
            wanted(remove=[name])
            if rng.random() < 0.3
            else wanted(reweight={name: rng.choice([0.5, 1.0, 3.0])})
        )
        writer = ring.Writer(client.rid(""), "operator", lambda *_: None)
        with suppress(CoordError, KeyboardInterrupt):
            yield from ring.apply_now(RING, change, writer, None)
