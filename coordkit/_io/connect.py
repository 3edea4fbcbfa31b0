"""
How to open one connection to Redis, with settings that are safe for coordination.

What a source hands out asks nothing twice, waits no longer than it is told, speaks
RESP2 and returns bytes.  Each call makes a new connection, which is not connected yet.
Who uses it must do two things, which redis-py leaves to its pools:

* call ``connect()`` before the first command and after each disconnection.  It asks
  the Sentinels for the master; sending alone would connect to the old one;
* disconnect after whatever interrupts it between a command and its answer.

Where a Redis Cluster is found, who serves what is `_io.cluster`'s business: here its
nodes are addresses like others.
"""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeAlias, TypeVar

import redis
import redis.asyncio
import redis.asyncio.connection
from redis.connection import AbstractConnection

from .origins import ASYNC, BLOCKING, Dial, Origin, find

#: A Sentinel gets its share of the timeout, and at least this: one round trip far away.
SHORTEST_TIMEOUT = 0.1
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")

Node: TypeAlias = tuple[str, int]
C_co = TypeVar("C_co", covariant=True)


@dataclass(frozen=True)
class Route(Generic[C_co]):
    """
    The way to one server.  *connect* makes a new connection that takes at most so
    many seconds for each thing, *limit* is how many may be open at once.
    """

    address: str
    limit: int
    connect: Callable[[float], C_co]


class _Common(Generic[C_co]):
    """What both kinds of source know."""

    def __init__(self, origin: Origin) -> None:
        #: where it leads, without secrets
        self.address = str(origin.address)
        #: whether it leads to a Redis Cluster
        self.clustered = bool(origin.nodes)
        #: the nodes of a cluster by which it is found: those that were seen there last
        self.nodes: Sequence[Node] = origin.nodes
        self._origin = origin

    @property
    def route(self) -> Route[C_co]:
        """The way to the server, or to some node of a cluster, for messages reach all."""
        return Route(self.address, self._origin.max_connections, self._connected)

    def route_to(self, node: Node) -> Route[C_co]:
        """Return the way to a node of a cluster."""

        def connect(timeout: float) -> C_co:
            return self._dial(timeout, *node)

        limit = self._origin.max_connections
        return Route(f"{self.address} (node {node[0]}:{node[1]})", limit, connect)

    def remapped(self, node: Node) -> Node:
        """Return where a node is found that tells this address."""
        remap = self._origin.remap
        return remap(node) if remap is not None else node

    def _connected(self, timeout: float) -> C_co:
        node = random.choice(self.nodes) if self.clustered else None
        return self._dial(timeout, *node) if node else self._dial(timeout)

    def _dial(
        self, timeout: float, host: str | None = None, port: int | None = None
    ) -> C_co:
        where = {} if host is None else {"host": host, "port": port}
        made: C_co = self._origin.dial(**self._timeouts(timeout), **where)
        return made

    def _timeouts(self, timeout: float) -> dict[str, float | None]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"


class Source(_Common[AbstractConnection]):
    """Where the connections of blocking code come from; any thread may use it."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        if origin.sentinels:
            origin = _under_sentinel(origin, _Service(origin, timeout))
        super().__init__(origin)

    def _timeouts(self, timeout: float) -> dict[str, float | None]:
        return dict.fromkeys(_TIMEOUTS, timeout)


class AsyncSource(_Common[redis.asyncio.connection.AbstractConnection]):
    """
    Where the connections of asyncio code come from; for one event loop.

    How long they wait for answers is the caller's business.
    """

    def __init__(self, origin: Origin, timeout: float) -> None:
        if origin.sentinels:
            origin = _under_sentinel(origin, _AsyncService(origin, timeout))
        super().__init__(origin)

    def _timeouts(self, timeout: float) -> dict[str, float | None]:
        return {"socket_timeout": None, "socket_connect_timeout": timeout}


def source(where: str | redis.Redis | redis.RedisCluster, *, timeout: float) -> Source:
    """Return the source that *where*, a URL or a client, leads to; connect to nothing."""
    return Source(find(where, BLOCKING), timeout)


def async_source(
    where: str | redis.asyncio.Redis | redis.asyncio.RedisCluster, *, timeout: float
) -> AsyncSource:
    """Return the source that *where*, a URL or a client, leads to; connect to nothing."""
    return AsyncSource(find(where, ASYNC), timeout)


# -- Sentinel ----------------------------------------------------------------------


class _Asked:
    """The client of one Sentinel; errors of redis-py show it, so it shows no secret."""

    def __init__(self, dial: Dial, client: Any) -> None:
        self.dial = dial
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def __repr__(self) -> str:
        settings = self.dial.settings
        return f"Sentinel {settings.get('host')}:{settings.get('port')}"


class _Service:
    """
    A connection under Sentinel asks this for its master, as it would ask its pool.

    The Sentinels are asked over new connections each time, so that nothing is shared
    between threads, event loops or processes; who answered last is asked first.
    """

    is_master = True
    check_connection = False
    _client: Any = redis.Redis
    _pool: Any = redis.ConnectionPool

    def __init__(self, origin: Origin, timeout: float) -> None:
        self.service_name = origin.address.service
        self._manager = origin.manager
        self._dials = list(origin.sentinels)
        self._timeout = max(timeout / len(self._dials), SHORTEST_TIMEOUT)

    def _asking(self) -> Any:
        manager = copy.copy(self._manager)
        manager.sentinels = [self._asked(dial) for dial in self._dials]
        return manager

    def _asked(self, dial: Dial) -> _Asked:
        timeouts = dict.fromkeys(_TIMEOUTS, self._timeout)
        pool = self._pool(
            connection_class=dial.connection_class, **dial.settings | timeouts
        )
        return _Asked(dial, self._client.from_pool(pool))

    def get_master_address(self) -> Any:
        manager = self._asking()
        try:
            address = manager.discover_master(self.service_name)
            self._dials = [asked.dial for asked in manager.sentinels]
            return address
        finally:
            for asked in manager.sentinels:
                asked.close()


class _AsyncService(_Service):
    _client = redis.asyncio.Redis
    _pool = redis.asyncio.ConnectionPool

    async def get_master_address(self) -> Any:
        manager = self._asking()
        try:
            address = await manager.discover_master(self.service_name)
            self._dials = [asked.dial for asked in manager.sentinels]
            return address
        finally:
            for asked in manager.sentinels:
                await asked.aclose()


class _Dropping:
    """Disconnects when an answer fails to come; under Sentinel redis-py does not."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        options.setdefault("disconnect_on_error", True)
        return super().read_response(*args, **options)  # type: ignore[misc]  # a mixin


@cache
def _dropping(managed: type) -> type:
    return type(managed.__name__, (_Dropping, managed), {})


def _under_sentinel(origin: Origin, service: _Service) -> Origin:
    managed, settings = origin.dial
    if issubclass(managed, AbstractConnection):
        managed = _dropping(managed)
    dial = Dial(managed, settings | {"connection_pool": service})
    return dataclasses.replace(origin, dial=dial)
