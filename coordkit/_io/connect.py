"""
How to open one connection to Redis, with settings that are safe for coordination.

What a source hands out asks nothing twice, waits no longer than it is told, speaks
RESP2 and returns bytes.  Each call makes a new connection, which is not connected yet.
Who uses it must do two things, which redis-py leaves to its pools:

* call ``connect()`` before the first command and after each disconnection.  It asks
  the Sentinels for the master; sending alone would connect to the old one;
* disconnect after whatever interrupts it between a command and its answer.

Redis Cluster is different: there a client of redis-py sends the commands, for it
knows the slots.  It is made anew too, with no retries: it follows MOVED and ASK, for
then nothing has happened, but repeats no command whose answer was lost.  Its
*pipelines* do repeat such commands, whatever the settings: never use them.  One call
may take several timeouts, for after a failure it looks for the nodes again.  In
asyncio code it cannot follow ASK over several connections to a node: such a call fails
while its slot is being moved.
"""

from __future__ import annotations

import copy
import dataclasses
import random
from functools import cache
from threading import Lock
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.connection
from redis import exceptions as rx
from redis.connection import AbstractConnection

from ..errors import CoordError, Unreachable, Unsupported
from .origins import ASYNC, BLOCKING, Dial, Family, Origin, find
from .refusals import coord_error

#: A Sentinel gets its share of the timeout, and at least this: one round trip far away.
SHORTEST_TIMEOUT = 0.1
#: All that a cluster's client may raise.  `RedisClusterException` is no `RedisError`;
#: the last two come from its bugs, while the nodes change or after an ASK to a new one.
CLUSTER_ERRORS = (
    rx.RedisError,
    rx.RedisClusterException,
    OSError,
    LookupError,
    AttributeError,
)
#: Nor has anything happened when MOVED or ASK were followed in vain: `ClusterError`.
_NOT_SENT = (rx.MaxConnectionsError, rx.SlotNotCoveredError)
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")


class _Common:
    """What both kinds of source know."""

    def __init__(self, origin: Origin, family: Family, timeout: float) -> None:
        #: where it leads, without secrets
        self.address = str(origin.address)
        #: how many command connections may be open at once
        self.max_connections = origin.max_connections
        #: whether it leads to a Redis Cluster
        self.clustered = bool(origin.cluster)
        self._origin = origin
        self._family = family
        self._timeout = timeout
        #: kept, for what is not referred to is closed, and a loop's selector is shared
        self._of_parents: list[Any] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def _new_cluster(self) -> Any:
        nodes = [self._family.node(host, port) for host, port in self._origin.nodes]
        return self._family.cluster(
            **self._origin.cluster,
            startup_nodes=nodes,
            **dict.fromkeys(_TIMEOUTS, self._timeout),
        )

    def _to_some_node(self, cluster: Any, **timeouts: float | None) -> Any:
        """Messages of a cluster reach every node: listen to any that is known."""
        known = (
            [(node.host, node.port) for node in cluster.get_nodes()] if cluster else []
        )
        host, port = random.choice(known or self._origin.nodes)
        return self._origin.dial(host=host, port=port, **timeouts)


class Source(_Common):
    """Where the connections of blocking code come from; any thread may use it."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        if origin.sentinels:
            origin = _under_sentinel(origin, _Service(origin, timeout))
        super().__init__(origin, BLOCKING, timeout)
        self._lock = Lock()
        self._cluster: redis.RedisCluster | None = None

    def connection(self, *, timeout: float) -> AbstractConnection:
        """
        Return a new connection that waits at most *timeout* seconds for each thing.

        In a cluster it leads to some node and is good for messages only.
        """
        timeouts = dict.fromkeys(_TIMEOUTS, timeout)
        made: AbstractConnection = (
            self._to_some_node(self._cluster, **timeouts)
            if self.clustered
            else self._origin.dial(**timeouts)
        )
        return made

    @property
    def cluster(self) -> redis.RedisCluster | None:
        """
        The client of a Redis Cluster, else None.

        It connects when first asked for, which may raise `Unreachable`, `NotPermitted`
        or `Unsupported`; then it is tried again the next time.
        """
        if not self.clustered:
            return None
        with self._lock:
            if self._cluster is None:
                try:
                    self._cluster = self._new_cluster()
                except CLUSTER_ERRORS as exc:
                    raise cluster_error(exc, self.address, sent=False) from exc
            return self._cluster

    def close(self) -> None:
        """Close what the source itself has opened: the client of a cluster."""
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def forked(self) -> None:
        """In a child process: leave the parent's connections to the parent."""
        self._lock = Lock()
        self._of_parents.append(self._cluster)
        self._cluster = None


class AsyncSource(_Common):
    """Where the connections of asyncio code come from; for one event loop."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        if origin.sentinels:
            origin = _under_sentinel(origin, _AsyncService(origin, timeout))
        super().__init__(origin, ASYNC, timeout)
        self._cluster: redis.asyncio.RedisCluster | None = None

    def connection(
        self, *, timeout: float
    ) -> redis.asyncio.connection.AbstractConnection:
        """
        Return a new connection that takes at most *timeout* seconds to connect.

        How long it waits for answers is the caller's business.  In a cluster it leads
        to some node and is good for messages only.
        """
        timeouts = {"socket_timeout": None, "socket_connect_timeout": timeout}
        made: redis.asyncio.connection.AbstractConnection = (
            self._to_some_node(self._cluster, **timeouts)
            if self.clustered
            else self._origin.dial(**timeouts)
        )
        return made

    @property
    def cluster(self) -> redis.asyncio.RedisCluster | None:
        """
        The client of a Redis Cluster, else None.

        Await its ``initialize()`` before each command, which does nothing when the
        nodes are known: if it raises, the command was not sent.
        """
        if self.clustered and self._cluster is None:
            self._cluster = self._new_cluster()
        return self._cluster

    async def close(self) -> None:
        """Close what the source itself has opened: the client of a cluster."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.aclose()
            # after an error that closes nothing: redis-py waits for the next command
            await cluster.nodes_manager.aclose("nodes_cache")
            await cluster.nodes_manager.aclose("startup_nodes")

    def forked(self) -> None:
        """In a child process: leave the parent's connections to the parent."""
        self._of_parents.append(self._cluster)
        self._cluster = None


def source(where: str | redis.Redis | redis.RedisCluster, *, timeout: float) -> Source:
    """Return the source that *where*, a URL or a client, leads to; connect to nothing."""
    return Source(find(where, BLOCKING), timeout)


def async_source(
    where: str | redis.asyncio.Redis | redis.asyncio.RedisCluster, *, timeout: float
) -> AsyncSource:
    """Return the source that *where*, a URL or a client, leads to; connect to nothing."""
    return AsyncSource(find(where, ASYNC), timeout)


def cluster_error(exc: Exception, where: str, *, sent: bool) -> CoordError:
    """
    Return what one of the `CLUSTER_ERRORS` means.

    After a lost answer the client looks for the nodes again, and what goes wrong then
    takes the place of the first error: so with *sent* it is never a refusal.
    """
    if isinstance(exc, _NOT_SENT) or type(exc) is rx.ClusterError:
        return Unreachable(f"{where} cannot be asked now: {exc}", sent=False)
    if isinstance(exc, rx.RedisError):
        return coord_error(exc, where, sent=sent)
    first = None
    cause: BaseException | None = exc
    while cause is not None and not sent:
        first = cause if isinstance(cause, rx.RedisError) else first
        cause = cause.__cause__ or cause.__context__
    if "cluster support disabled" in str(first):
        return Unsupported(f"{where} is no Redis Cluster: connect with redis://")
    if first is not None:
        return coord_error(first, where, sent=sent)
    why = f"{type(exc).__name__}: {exc}"
    return Unreachable(f"no answer from {where}: {why}", sent=sent)


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
