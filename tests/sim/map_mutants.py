"""Known wrong variants of what live nodes of a ring do; see `mutants`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from coordkit._core import keeper, ring_change, ring_live, ring_tend
from coordkit._core.ring_snapshot import Snapshot
from sim.maps import MAPS
from sim.mutants import Mutant as _Mutant
from sim.mutants import edited

Mutant = partial(_Mutant, episodes=MAPS)

ALIVE = "if rid and rid ~= ARGV[12] and tonumber("
CHANGED = "if held[1] ~= birth or (held[2] or '0') ~= ARGV[3] then"
LOGGED = "redis.call('XADD', log, 'MAXLEN', 128, id,"
TIMED = "math.max(time[1] * 1000000 + time[2], (last or 0) + 1)"


@contextmanager
def _stale_snapshot_owns() -> Iterator[None]:
    def whoever(ring: Snapshot, name: str, token: int) -> bytes | None:
        del token
        index = next((i for i, n in enumerate(ring.nodes) if n.name == name), -1)
        return bytes(map(index.__eq__, ring.owners)) if index >= 0 else None

    with mock.patch.object(ring_tend, "mine", whoever):
        yield


@contextmanager
def _one_phase() -> Iterator[None]:
    def at_once(then: Any, targets: array[int], *_: Any) -> array[int]:
        del then
        return targets

    with mock.patch.object(ring_change, "_handed", at_once):
        yield


@contextmanager
def _epoch_not_raised() -> Iterator[None]:
    made = ring_change.next_version

    def same(old: Snapshot, *args: Any) -> Snapshot:
        return replace(made(old, *args), epochs=old.epochs)

    with mock.patch.object(ring_live, "next_version", same):
        yield


@contextmanager
def _token_by_node() -> Iterator[None]:
    """A node that is back goes on with the tokens of the process before it."""
    made = ring_change.next_version

    def kept(old: Snapshot, *args: Any) -> Snapshot:
        new = made(old, *args)
        same = new.owners == old.owners and [n.name for n in new.nodes] == [
            n.name for n in old.nodes
        ]
        return replace(new, epochs=old.epochs) if same else new

    with mock.patch.object(ring_live, "next_version", kept):
        yield


@contextmanager
def _owns_while_it_hands_over() -> Iterator[None]:
    def open_(self: Any, value: frozenset[int]) -> None:
        del self, value

    shut = property(lambda _: frozenset[int](), open_)
    with mock.patch.object(ring_tend.Tender, "_shut", shut, create=True):
        yield


@contextmanager
def _who_is_there_is_late() -> Iterator[None]:
    """It goes by who was there when it looked the time before."""
    take = ring_tend.Tender.take

    def late(self: Any, value: Any, asked_at: float, heard_at: float) -> None:
        take(self, value, asked_at, heard_at)
        before = getattr(self, "before", self._lives)
        self.before, self._lives = self._lives, before

    with mock.patch.object(ring_tend.Tender, "take", late):
        yield


@contextmanager
def _lease_from_heard() -> Iterator[None]:
    settle = keeper.Keeper._settle

    def late(
        self: Any, batch: Any, verdicts: Any, asked_at: float, heard: float
    ) -> None:
        del asked_at
        settle(self, batch, verdicts, heard, heard)

    with mock.patch.object(keeper.Keeper, "_settle", late):
        yield


@contextmanager
def _nobody_stands_in() -> Iterator[None]:
    def kept(
        then: array[int], targets: array[int], nodes: Any, alive: Any, given: Any
    ) -> Any:
        owners = handed(then, targets, nodes, alive, given)
        number = len(nodes)
        for slot, target in enumerate(targets):
            gone = target < number and nodes[target].joined
            if gone and nodes[target].name not in alive:
                owners[slot] = target
        return owners

    handed = ring_change._handed
    with mock.patch.object(ring_change, "_handed", kept):
        yield


@contextmanager
def _nobody_looks_for_the_dead() -> Iterator[None]:
    def none(old: Snapshot, lives: Any, *args: Any, **given: Any) -> Snapshot | None:
        gone = {n.name: ring_live.Life(n.holder, n) for n in ring_live.dead(old, lives)}
        return settled(old, lives | gone, *args, **given)

    settled = ring_live.settled
    with mock.patch.object(ring_tend, "settled", none):
        yield


MUTANTS = [
    Mutant("a snapshot of old owns", "crashes", patch=_stale_snapshot_owns),
    Mutant(
        "a commit without its version",
        "rough",
        lambda: edited(
            "ring_commit", (CHANGED, "if false then"), (LOGGED, LOGGED[:-3] + "'*',")
        ),
    ),
    Mutant("an epoch that is not raised", "rough", patch=_epoch_not_raised),
    Mutant("an epoch of the node, not the process", "crashes", patch=_token_by_node),
    Mutant(
        "a hand-over in one phase",
        "rough",
        lambda: edited("ring_commit", (ALIVE, "if false and tonumber(")),
        patch=_one_phase,
    ),
    Mutant(
        "who lives is looked at neither before nor then",
        "crashes",
        lambda: edited("ring_commit", (ALIVE, "if false and tonumber(")),
        patch=_who_is_there_is_late,
    ),
    Mutant("it owns while it hands over", "rough", patch=_owns_while_it_hands_over),
    Mutant("a lease from when it was heard", "rough", patch=_lease_from_heard),
    Mutant(
        "epochs that begin anew",
        "data loss",
        lambda: edited("ring_commit", (TIMED, "0")),
    ),
    Mutant("nobody stands in for the dead", "crashes", patch=_nobody_stands_in),
    Mutant("nobody looks for the dead", "crashes", patch=_nobody_looks_for_the_dead),
]
