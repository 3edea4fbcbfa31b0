"""Who is compared: rings of the same nodes, each in its own way, with its defaults."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from coordkit import Session
from support.servers import RedisServer

from ..report import OURS

UHASHRING, TOOZ, HASHRING = "uhashring", "tooz", "redis-hashring"
#: The columns of the table; the last two are ours, too, to be compared with.
SINGLE, FLOOR = "owner()", "floor"
ALL = (OURS, UHASHRING, TOOZ, HASHRING, SINGLE, FLOOR)
_MODULES = {
    UHASHRING: "uhashring",
    TOOZ: "tooz.hashring",
    HASHRING: "redis_hashring",
}


class Contestant(Protocol):
    """A ring: its lookup, and how it takes one node more."""

    @property
    def owner(self) -> Callable[[str], Any]:
        """What looks up a key."""
        ...

    def add(self, node: str) -> None:
        """Take one node more."""
        ...


def absent() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, module in _MODULES.items() if not _installed(module)]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is not there
        return False


def names(number: int) -> list[str]:
    """Return so many nodes."""
    return [f"10.0.{n >> 8}.{n & 255}:6379" for n in range(number)]


class Ours:
    """coordkit's ring, in Redis and kept fresh, as it is used."""

    def __init__(
        self, session: Session, nodes: list[str], slots: int, name: str
    ) -> None:
        self._ring = session.ring(name)
        self._ring.delete()
        self._ring.create(slots=slots)
        self._ring.add(dict.fromkeys(nodes, 1.0))
        self._ring.refresh()
        self.owner = self._ring.owner
        self.owner_many = self._ring.owner_many

    def add(self, node: str) -> None:
        self._ring.add(node)


class Uhashring:
    """The ring of uhashring: 160 points a node, by MD5."""

    def __init__(self, nodes: list[str]) -> None:
        from uhashring import HashRing

        self._ring: Any = HashRing(nodes=nodes)
        self.owner = self._ring.get_node

    def add(self, node: str) -> None:
        self._ring.add_node(node)


class Tooz:
    """The ring of tooz: 32 partitions a node, by MD5; it takes bytes and gives a set."""

    def __init__(self, nodes: list[str]) -> None:
        from tooz.hashring import HashRing

        ring: Any = HashRing(nodes)
        get = ring.get_nodes
        self._ring = ring

        def owner(key: str) -> str:
            (node,) = get(key.encode())
            return str(node)

        self.owner = owner

    def add(self, node: str) -> None:
        self._ring.add_node(node)


class Hashring:
    """
    One node of a ring of redis-hashring: 16 random points a node, by XXH32.

    It cannot say who owns a key, only whether it is itself.
    """

    def __init__(self, client: Any, nodes: list[str], name: str) -> None:
        from redis_hashring import RingNode

        for _ in nodes[1:]:
            RingNode(client, name).heartbeat()
        self._ring: Any = RingNode(client, name)
        self._ring.heartbeat()
        self._ring.update()
        self._client, self._name, self._new = client, name, RingNode
        self.owner = self._ring.contains

    def add(self, node: str) -> None:
        self._new(self._client, self._name).heartbeat()
        self._ring.update()


Maker = Callable[[list[str]], Contestant]


def makers(server: RedisServer, slots: int, stack: ExitStack) -> dict[str, Maker]:
    """Return how each makes a ring of some nodes; sessions are closed with *stack*."""
    away = absent()
    session = stack.enter_context(Session(server.url))
    client = stack.enter_context(server.client())

    def ours(nodes: list[str]) -> Ours:
        return Ours(session, nodes, slots, f"of {len(nodes)}")

    def hashring(nodes: list[str]) -> Hashring:
        key = f"hashring of {len(nodes)}"
        client.delete(key)
        return Hashring(client, nodes, key)

    made: dict[str, Maker] = {
        OURS: ours,
        UHASHRING: Uhashring,
        TOOZ: Tooz,
        HASHRING: hashring,
    }
    return {name: make for name, make in made.items() if name not in away}
