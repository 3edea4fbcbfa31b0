"""What a change makes of a ring: the next snapshot, and what moves."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress, repeat
from math import fsum
from operator import ne
from typing import NamedTuple, TypeAlias

from ..errors import KeyConflict, NoNode
from .ring_node import (
    AWAY,
    LEAVING,
    MOST_NODES,
    Node,
    Nodes,
    nodes_of,
    once,
    weights_of,
)
from .ring_place import GONE, NOBODY, balanced, counts, hashed
from .ring_slot import scattered
from .ring_snapshot import Snapshot

#: Slots and their owners.
_Owners: TypeAlias = Sequence[str] | Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Change:
    """Which nodes come, go and change their weight; none of it: finish what is open."""

    add: tuple[Node, ...] = ()
    remove: tuple[str, ...] = ()
    reweight: Mapping[str, float] = field(default_factory=dict[str, float])

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.reweight)


def wanted(
    add: Nodes = (),
    remove: Iterable[str] = (),
    reweight: Mapping[str, float] | None = None,
) -> Change:
    """Return the checked change; each node may be in it only once."""
    if isinstance(remove, str):
        raise TypeError(f"remove is several names, not one str: {remove!r}")
    nodes = nodes_of(add) if add else ()
    change = Change(
        nodes, tuple(remove), weights_of(reweight, None) if reweight else {}
    )
    names = (*(node.name for node in nodes), *change.remove, *change.reweight)
    if names:
        once(names)
    return change


class Move(NamedTuple):
    """Slots *first* to *last*, both included, go from *source* to *target*."""

    first: int
    last: int
    source: str
    target: str

    @property
    def slots(self) -> int:
        """How many these are."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Draft:
    """A change that was made up, but not made: the ring before and after."""

    change: Change
    old: Snapshot
    new: Snapshot

    @cached_property
    def moved(self) -> list[int]:
        """The slots that are to change hands, in order."""
        then = indexes_then(self.old, self.old.targets, self.new.nodes)
        return changed_slots(then, self.new.targets)

    @cached_property
    def handed(self) -> list[int]:
        """The slots that change hands at once: all but what a live node holds."""
        if self.old.next is self.new.next is None:
            return self.moved
        then = indexes_then(self.old, self.old.owners, self.new.nodes)
        return changed_slots(then, self.new.owners)

    @property
    def owned(self) -> bool:
        """Whether somebody owns the slots, before and after."""
        return self.old.owned and self.new.owned

    @cached_property
    def moves(self) -> list[Move]:
        """What is to go from where to where; what nobody owned before does not move."""
        before, after = self.old.aims(), self.new.aims()
        return list(runs(before, after, self.moved)) if before and after else []

    @cached_property
    def hands(self) -> list[Move]:
        """What goes from where to where at once."""
        if not self.owned:
            return []
        return list(runs(self.old.table(), self.new.table(), self.handed))

    def ideal(self) -> float:
        """
        Return the least share that any placement could move.

        What the weights ask for, (1/2) Σ |w'ᵢ - wᵢ|, and at least what those have that go.
        """
        if not self.owned:
            return 0.0
        before, after = _weights(self.old.nodes), _weights(self.new.nodes)
        names = before.keys() | after.keys()
        asked = fsum(abs(after.get(n, 0.0) - before.get(n, 0.0)) for n in names) / 2
        staying = {node.name for node in self.new.nodes}
        have = counts(self.old.targets)
        held = sum(
            has
            for node, has in zip(self.old.nodes, have, strict=False)
            if node.name not in staying
        )
        return max(asked, held / self.old.slots)

    def steps(self, most: int) -> Iterator[Snapshot]:
        """
        Yield the versions on the way, each with at most *most* slots moved on.

        The nodes that go are leaving until they own nothing.
        """
        moved = set(self.moved)
        order = [slot for slot in scattered(self.old.slots) if slot in moved]
        nodes = tuple(_nodes(self.old, self.change))
        places = {node.name: i for i, node in enumerate(nodes)}
        to = [places[node.name] for node in self.new.nodes]
        at = self.old
        while len(order) > most:
            now, order = order[:most], order[most:]
            targets = indexes_then(at, at.targets, nodes)[:]
            for slot in now:
                targets[slot] = to[self.new.targets[slot]]
            at = next_version(at, nodes, targets)
            yield at
        yield next_version(at, self.new.nodes, self.new.targets)


def draft(old: Snapshot, change: Change) -> Draft:
    """
    Make up *change*: it moves the least, and leaves nothing open but what live nodes hold.

    `NoNode` and `KeyConflict` when the ring has other nodes than it takes it to have,
    `ValueError` when there would be too many.
    """
    nodes = tuple(
        node
        for node in _nodes(old, change)
        if node.state != LEAVING or _may_hold(node, old)
    )
    targets = placed(old, indexes_then(old, old.targets, nodes), nodes)
    return Draft(change, old, next_version(old, nodes, targets))


def placed(old: Snapshot, targets: array[int], nodes: tuple[Node, ...]) -> array[int]:
    """Return whose each slot is to be when these are the nodes, and *targets* was so far."""
    if old.mode == "hashed":
        return hashed(nodes, old.slots)
    return balanced(targets, [node.pull for node in nodes])


def next_version(
    old: Snapshot,
    nodes: tuple[Node, ...],
    targets: array[int],
    alive: Collection[str] | None = None,
    given: Collection[int] = (),
) -> Snapshot:
    """
    Return the version after *old*, with these nodes, and whose each slot is to be.

    A slot that a live node holds stays there, unless it is *given*; all others go at once
    where they are to be, or to somebody who stands in.  *alive*: the nodes whose
    membership lasts; None: all but those that are away.
    """
    then = indexes_then(old, old.owners, nodes)
    if any(node.joined for node in (*old.nodes, *nodes)):
        if alive is None:
            alive = {n.name for n in nodes if n.joined and n.state != AWAY}
        owners = _handed(then, targets, nodes, alive, given)
    else:
        owners = targets
    version, epochs = old.version + 1, old.epochs[:]
    for slot in changed_slots(then, owners):
        epochs[slot] = version
    holders = {node.name: node.holder for node in old.nodes}
    anew = {i for i, n in enumerate(nodes) if n.holder != holders.get(n.name, n.holder)}
    if anew:  # another process holds what it has: that counts as a hand-over
        for slot in compress(range(len(owners)), map(anew.__contains__, owners)):
            epochs[slot] = version
    return replace(
        old,
        version=version,
        nodes=nodes,
        owners=owners,
        epochs=epochs,
        next=None if owners == targets else targets,
    )


def _handed(
    then: array[int],
    targets: array[int],
    nodes: tuple[Node, ...],
    alive: Collection[str],
    given: Collection[int],
) -> array[int]:
    """Return who has each slot after those *then*: in one phase, or not yet."""
    holds = [node.joined and node.name in alive for node in nodes]
    there = [h or not node.joined for h, node in zip(holds, nodes, strict=True)]
    number, owners, open_ = len(nodes), then[:], list[int]()
    for slot, (owner, target) in enumerate(zip(then, targets, strict=True)):
        if owner < number and holds[owner] and slot not in given:
            continue  # it hands over itself
        if target < number and there[target]:
            owners[slot] = target
        elif owner >= number or not there[owner] or holds[owner]:
            owners[slot] = GONE
            open_.append(slot)
    if open_:
        # Whoever is there stands in; even who leaves, when nobody else is there.
        pulls = [n.pull * t for n, t in zip(nodes, there, strict=True)]
        if not any(pulls):
            pulls = [n.weight * t for n, t in zip(nodes, there, strict=True)]
        filled = balanced(owners, pulls) if any(pulls) else targets
        for slot in open_:
            owners[slot] = filled[slot]
    return owners


def difference(old: Snapshot, new: Snapshot) -> Change:
    """Return the change that makes the nodes of *new* of those of *old*."""
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    return Change(
        tuple(node for name, node in after.items() if name not in before),
        tuple(name for name in before if name not in after),
        {
            name: node.weight
            for name, node in after.items()
            if name in before and before[name].weight != node.weight
        },
    )


def changed_slots(before: Iterable[int], after: Sequence[int]) -> list[int]:
    """Return the slots whose owner is another."""
    return list(compress(range(len(after)), map(ne, before, after)))


def _nodes(old: Snapshot, change: Change) -> list[Node]:
    """Return all nodes by name; those that go are leaving."""
    nodes = {node.name: node for node in old.nodes}
    for name in (*change.remove, *change.reweight):
        if name not in nodes:
            raise NoNode(old.name, name)
    for node in change.add:
        if node.name in nodes:
            raise KeyConflict(
                f"the ring {old.name!r} has a node {node.name!r} already: reweight "
                "changes its weight"
            )
        nodes[node.name] = node
    if len(nodes) > MOST_NODES:
        raise ValueError(f"a ring has at most {MOST_NODES} nodes, not {len(nodes)}")
    for name, weight in change.reweight.items():
        nodes[name] = replace(nodes[name], weight=weight)
    for name in change.remove:
        nodes[name] = replace(nodes[name], state=LEAVING)
    return [nodes[name] for name in sorted(nodes)]


def indexes_then(
    old: Snapshot, table: array[int], nodes: tuple[Node, ...]
) -> array[int]:
    """Return *table* with indexes into *nodes*; `GONE` is who is not among these."""
    if old.nodes == nodes or not old.owned:
        return table
    places = {node.name: i for i, node in enumerate(nodes)}
    then = [places.get(node.name, GONE) for node in old.nodes]
    if table is not old.owners and NOBODY in table:
        return array("H", repeat(NOBODY, len(table)))
    return array("H", map(then.__getitem__, table))


def _may_hold(node: Node, old: Snapshot) -> bool:
    """Whether a process may have slots of a node that goes: it hands over itself."""
    before = next((each for each in old.nodes if each.name == node.name), node)
    return before.joined and before.state != AWAY


def _weights(nodes: tuple[Node, ...]) -> dict[str, float]:
    total = fsum(node.pull for node in nodes)
    return {node.name: node.pull / total for node in nodes if node.pull}


def runs(before: _Owners, after: _Owners, moved: Iterable[int]) -> Iterator[Move]:
    """Yield the moves of these slots, in order, those side by side as one."""
    run: Move | None = None
    for slot in moved:
        move = Move(slot, slot, before[slot], after[slot])
        if run is not None and (slot - 1, *move[2:]) == run[1:]:
            run = run._replace(last=slot)
            continue
        if run is not None:
            yield run
        run = move
    if run is not None:
        yield run
