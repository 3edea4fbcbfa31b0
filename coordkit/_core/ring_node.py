"""The nodes of a ring: what they may be, and how they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from .claim import meta_text
from .keys import check_name
from .span import milliseconds

LONGEST_NODE = 200
LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
MOST_CAPACITY = 2**53
#: An index of 16 bits, and one that means nobody.
MOST_NODES = 65_534

ACTIVE, LEAVING, AWAY = STATES = "active", "leaving", "away"


@dataclass(frozen=True, slots=True)
class Node:
    """
    One node of a ring.

    *weight*: its share is this, to the sum of all weights.  *zone*: what fails
    together; preference lists spread over zones.  *capacity*: how many keys it can
    have assigned at most (see `Ring.assign`); None: nobody knows.  *state* is
    ``"active"``; ``"leaving"`` while its slots are moved away; or ``"away"``: it has
    died, and its place is kept.

    *holder* is the token of the membership that holds its slots (see `Ring.join`); 0:
    nobody has ever joined as it.  *grace*: for how many seconds its place is kept when it
    dies; *until*: while it is away, until when, in seconds of the server's clock.
    """

    name: str
    weight: float = 1.0
    zone: str = ""
    capacity: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    state: str = ACTIVE
    holder: int = 0
    grace: float = 0.0
    until: float = 0.0

    @property
    def joined(self) -> bool:
        """Whether it is a process that holds its slots, or has been one."""
        return self.holder != 0

    @property
    def pull(self) -> float:
        """What its share is reckoned by: nothing while it leaves."""
        return 0.0 if self.state == LEAVING else self.weight


#: What `add` takes but one name: a node in full, or several, with weights or without.
Nodes: TypeAlias = Node | Mapping[str, float] | Iterable[str | Node]


def check_node_name(name: str) -> str:
    """Return *name* if a node can be called so: 1 to 200 bytes."""
    check_name(name, "node")
    if len(name.encode()) > LONGEST_NODE:
        raise ValueError(
            f"node {name[:64]!r}… is {len(name.encode())} bytes long; allowed are "
            f"1 to {LONGEST_NODE}"
        )
    return name


def check_weight(weight: float, node: str) -> float:
    """Return *weight* if a node can have it: a number from 10^-6 to 10^6."""
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise TypeError(
            f"the weight of {node!r} is a number, not {type(weight).__name__}: {weight!r}"
        )
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:  # false for NaN too
        raise ValueError(
            f"weight={weight!r} of {node!r} is not between {LEAST_WEIGHT:g} and "
            f"{MOST_WEIGHT:g}"
        )
    return float(weight)


def check_node(node: Node) -> Node:
    """Return *node* if a ring can have it."""
    if not isinstance(node, Node):
        raise TypeError(
            f"a node is a name or a Node, not {type(node).__name__}: {node!r:.80}"
        )
    capacity = node.capacity
    if capacity is not None:
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(
                f"the capacity of {node.name!r} is an int, not "
                f"{type(capacity).__name__}: {capacity!r}"
            )
        if not 1 <= capacity <= MOST_CAPACITY:
            raise ValueError(
                f"capacity={capacity} of {node.name!r} is not between 1 and {MOST_CAPACITY}"
            )
    if node.zone != "":
        check_name(node.zone, "zone")
    meta_text(node.meta)
    return Node(
        check_node_name(node.name),
        check_weight(node.weight, node.name),
        node.zone,
        capacity,
        node.meta,
    )


def nodes_of(
    given: str | Nodes,
    *,
    weight: float = 1.0,
    zone: str = "",
    capacity: int | None = None,
    meta: Mapping[str, Any] | None = None,
) -> tuple[Node, ...]:
    """Return the checked nodes that `add` was given, each named only once."""
    if isinstance(given, str):
        found = [Node(given, weight, zone, capacity, meta or {})]
    elif weight != 1.0 or zone or capacity is not None or meta:
        raise ValueError(
            "weight, zone, capacity and meta are for a node that is named alone: "
            "else, give Node objects"
        )
    elif isinstance(given, Mapping):
        weights = cast("Mapping[str, float]", given)
        found = [Node(name, each) for name, each in weights.items()]
    elif isinstance(given, Node):
        found = [given]
    else:
        found = [Node(each) if isinstance(each, str) else each for each in given]
    checked = [check_node(node) for node in found]
    once(node.name for node in checked)
    return tuple(checked)


def weights_of(
    given: str | Mapping[str, float], weight: float | None
) -> dict[str, float]:
    """Return the checked weights that `reweight` was given."""
    if isinstance(given, str):
        if weight is None:
            raise TypeError(f"which weight should {given!r} have?")
        given = {given: weight}
    elif weight is not None:
        raise TypeError("a weight is for a single node: a mapping has them all")
    once(given)
    return {name: check_weight(each, name) for name, each in given.items()}


def once(names: Iterable[str]) -> tuple[str, ...]:
    """Return *names* if each is named only once, and at least one is."""
    seen: dict[str, None] = {}
    for name in names:
        if check_node_name(name) in seen:
            raise ValueError(f"node {name!r} is named twice")
        seen[name] = None
    if not seen:
        raise ValueError("no node is named: give at least one")
    return tuple(seen)


# -- as it is stored --------------------------------------------------------------


def node_record(node: Node) -> str:
    """
    Return what is stored of a node: weight, zone, capacity, state and meta, one a line.

    If it was ever joined as: holder, grace and until (both in ms), too.
    """
    capacity = "" if node.capacity is None else str(node.capacity)
    lines = [repr(node.weight), node.zone, capacity, node.state, meta_text(node.meta)]
    if node.joined:
        spans = milliseconds(node.grace), milliseconds(node.until)
        lines += [str(node.holder), *map(str, spans)]
    return "\n".join(lines)


def stored_node(name: str, record: str) -> Node:
    """Return the node of a record; `ValueError` if it is none of ours."""
    weight, zone, capacity, state, meta, *life = record.split("\n")
    if state not in STATES:
        raise ValueError(f"{state!r} is no state")
    holder, grace, until = map(int, life or (0, 0, 0))
    return Node(
        check_node_name(name),
        check_weight(float(weight), name),
        zone,
        int(capacity) if capacity else None,
        json.loads(meta),
        state,
        holder,
        grace / 1000,
        until / 1000,
    )
