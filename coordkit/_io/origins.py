"""
All there is to know about how to reach Redis, read from a URL or from a client.

A client of redis-py is not used itself, nor changed: where it connects to and how it
logs in is copied, with our own settings on top.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import Unsupported
from .urls import Address, Hosts, parse

#: what CLIENT LIST shows, from Redis 7.2 on
_shown_as: dict[str, Any] = {"lib_name": "redis-py(coordkit)", "lib_version": None}
try:
    from redis.driver_info import DriverInfo
except ImportError:
    pass  # redis-py 6
else:
    _shown_as = {"driver_info": DriverInfo("redis-py(coordkit)", lib_version=None)}

#: as redis-py 8 has it; its older versions had no limit, and said so with 2 ** 31
DEFAULT_MAX_CONNECTIONS = 100
NO_LIMIT = 2**31

#: Settings of a user's client that are not copied: ours take their place, or they
#: tie a connection to the pool that it came from.
_NOT_COPIED = frozenset(
    {
        "command_packer",
        "connection_pool",
        "encoder_class",
        "event_dispatcher",
        "himport_registry",
        "legacy_responses",
        "lib_name",
        "lib_version",
        "parser_class",
        "retry_on_error",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_timeout",
    }
)
_NOT_COPIED_FAMILIES = ("cache", "maint", "orig_", "oss_cluster_")


class Family(NamedTuple):
    """The classes of redis-py for one way of waiting."""

    name: str
    client: Any
    cluster: Any
    node: Any
    plain: Any
    tls: Any
    unix: Any
    sentinel: Any
    managed: Any
    managed_tls: Any
    managed_pool: Any
    retry: Any


BLOCKING = Family(
    "redis.Redis",
    redis.Redis,
    redis.RedisCluster,
    redis.cluster.ClusterNode,
    redis.Connection,
    redis.SSLConnection,
    redis.UnixDomainSocketConnection,
    redis.sentinel.Sentinel,
    redis.sentinel.SentinelManagedConnection,
    redis.sentinel.SentinelManagedSSLConnection,
    redis.sentinel.SentinelConnectionPool,
    Retry,
)
ASYNC = Family(
    "redis.asyncio.Redis",
    redis.asyncio.Redis,
    redis.asyncio.RedisCluster,
    redis.asyncio.cluster.ClusterNode,
    redis.asyncio.Connection,
    redis.asyncio.SSLConnection,
    redis.asyncio.UnixDomainSocketConnection,
    redis.asyncio.sentinel.Sentinel,
    redis.asyncio.sentinel.SentinelManagedConnection,
    redis.asyncio.sentinel.SentinelManagedSSLConnection,
    redis.asyncio.sentinel.SentinelConnectionPool,
    redis.asyncio.retry.Retry,
)


class Dial(NamedTuple):
    """A class of connections, and everything it needs but the timeouts."""

    connection_class: Any
    settings: dict[str, Any]

    def __call__(self, **more: Any) -> Any:
        """Make a connection, not yet connected."""
        return self.connection_class(**(self.settings | more))


@dataclass(frozen=True)
class Origin:
    """
    Where connections come from.

    *sentinels* are to be asked by a *manager* of redis-py, whose own clients are
    not used.  A Redis Cluster is found through *nodes*; *dial* still lacks a host
    then, and *remap* may know other addresses for the nodes than they tell.
    """

    address: Address
    max_connections: int
    dial: Dial
    sentinels: Sequence[Dial] = ()
    manager: Any = None
    nodes: Hosts = ()
    remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None


def find(where: Any, family: Family) -> Origin:
    """Return what *where*, a URL or a client of this family, leads to."""
    if isinstance(where, str):
        return _from_url(where, family)
    if isinstance(where, family.cluster):
        return _from_cluster(where, family)
    if isinstance(where, family.client):
        return _from_client(where, family)
    if any(".multidb" in base.__module__ for base in type(where).__mro__):
        raise Unsupported(
            "an Active-Active (MultiDB) client writes to one database or another, and "
            "two writable databases cannot exclude each other: pass one of them"
        )
    wanted = f"a URL, a {family.name} or a {family.name}Cluster"
    if isinstance(where, family.sentinel):
        wanted += ", such as sentinel.master_for('SERVICE')"
    for other, way in ((BLOCKING, "blocking"), (ASYNC, "asyncio")):
        if isinstance(where, (other.client, other.cluster)):
            raise TypeError(
                f"this is a client for {way} code ({type(where).__name__}): pass {wanted}"
            )
    raise TypeError(f"pass {wanted}, not a {type(where).__qualname__}")


def _ours(family: Family) -> dict[str, Any]:
    return {
        "retry": family.retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "strict",
        **_shown_as,
    }


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _from_url(url: str, family: Family) -> Origin:
    address = parse(url)
    options = dict(address.options)
    limit: Any = options.pop("max_connections", DEFAULT_MAX_CONNECTIONS)
    sentinel_login = {
        "username": options.pop("sentinel_username", None),
        "password": options.pop("sentinel_password", None),
    }
    name = {"client_name": options.pop("client_name", None)}
    # what is left of the options is for TLS, to the Sentinels too
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False  # early versions 6 want it said
    way = options | _ours(family)
    if address.kind != "unix":
        way["socket_keepalive"] = True
    login = {"username": address.username, "password": address.password}
    settings = way | _given(login | name)
    if address.kind == "cluster":
        plain = family.tls if address.tls else family.plain
        return Origin(address, limit, Dial(plain, settings), nodes=address.hosts)
    settings["db"] = address.db
    if address.kind == "unix":
        dial = Dial(family.unix, settings | {"path": address.path})
        return Origin(address, limit, dial)
    plain = family.tls if address.tls else family.plain
    if address.kind == "sentinel":
        asked = [
            Dial(plain, way | _given(sentinel_login) | {"host": host, "port": port})
            for host, port in address.hosts
        ]
        managed = family.managed_tls if address.tls else family.managed
        dial, manager = Dial(managed, settings), family.sentinel([])
        return Origin(address, limit, dial, asked, manager)
    host, port = address.hosts[0]
    return Origin(address, limit, Dial(plain, settings | {"host": host, "port": port}))


@cache
def _parameters(of: Any) -> frozenset[str]:
    """Return the names of all parameters that a class or one of its bases takes."""
    made_by: list[Any] = [
        vars(base)["__init__"] for base in of.__mro__ if "__init__" in vars(base)
    ]
    return frozenset(
        name
        for init in made_by
        if init is not object.__init__
        for name in inspect.signature(init).parameters
    )


def _copied(settings: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Copy the settings of a connection, with ours on top."""
    kept = {
        key: value
        for key, value in settings.items()
        if key not in _NOT_COPIED and not key.startswith(_NOT_COPIED_FAMILIES)
    }
    # redis-py moves a pool to another host while its server is being maintained
    if settings.get("orig_host_address"):
        kept["host"] = settings["orig_host_address"]
    return kept | _ours(family)


def _from_client(client: Any, family: Family) -> Origin:
    pool = client.connection_pool
    try:
        dial = Dial(pool.connection_class, _copied(pool.connection_kwargs, family))
    except AttributeError:
        raise TypeError(
            f"cannot read the settings of a {type(pool).__name__}: pass a URL, or a "
            f"{family.name} with a connection pool of redis-py"
        ) from None
    limit = getattr(pool, "max_connections", NO_LIMIT)
    limit = DEFAULT_MAX_CONNECTIONS if limit >= NO_LIMIT else limit
    if not isinstance(pool, family.managed_pool):
        return Origin(_address(dial), limit, dial)
    if not pool.is_master:
        raise Unsupported(
            f"this client reads from the replicas of {pool.service_name!r}: pass the "
            "one that master_for() returns"
        )
    asked = [
        Dial(its.connection_class, _copied(its.connection_kwargs, family))
        for its in (
            sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels
        )
    ]
    hosts = tuple(host for sentinel in asked for host in _address(sentinel).hosts)
    address = _address(dial, hosts, pool.service_name)
    return Origin(address, limit, dial, asked, pool.sentinel_manager)


def _address(
    dial: Dial, hosts: tuple[tuple[str, int], ...] = (), service: str = ""
) -> Address:
    """Return where *dial* leads, for messages."""
    settings = dial.settings
    path = str(settings.get("path") or "")
    host = str(settings.get("host") or "localhost"), int(settings.get("port") or 6379)
    return Address(
        kind="sentinel" if service else "unix" if path else "tcp",
        hosts=hosts or (() if path else (host,)),
        path=path,
        db=int(settings.get("db") or 0),
        service=service,
        tls="SSL" in dial.connection_class.__name__,
        username=settings.get("username"),
        password=settings.get("password"),
    )


def _from_cluster(client: Any, family: Family) -> Origin:
    known = client.nodes_manager
    theirs = known.connection_kwargs
    settings = _copied(theirs, family)
    # not their client's own: that would tie our nodes to it
    settings["redis_connect_func"] = getattr(client, "user_on_connect_func", None)
    connection_class = theirs.get("connection_class", family.plain)
    tls = bool(theirs.get("ssl")) or issubclass(connection_class, family.tls)
    hosts = tuple((node.host, int(node.port)) for node in known.startup_nodes.values())
    address = Address(
        kind="cluster",
        hosts=hosts,
        tls=tls,
        username=theirs.get("username"),
        password=theirs.get("password"),
    )
    limit = theirs.get("max_connections") or DEFAULT_MAX_CONNECTIONS
    limit = DEFAULT_MAX_CONNECTIONS if limit >= NO_LIMIT else limit
    plain = family.tls if tls else family.plain
    taken = _parameters(plain)
    dial = Dial(plain, {key: settings[key] for key in settings if key in taken})
    return Origin(address, limit, dial, nodes=hosts, remap=known.address_remap)
