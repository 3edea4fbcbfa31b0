"""The servers of the contract suite: what a session is made from, and a look inside."""

from __future__ import annotations

import secrets
import time
from typing import Any, TypeAlias, TypeVar

import fakeredis

from contract.flavours import Api, Started, Threads, real
from coordkit import (
    AsyncElection,
    AsyncLease,
    AsyncLiveNode,
    AsyncLock,
    AsyncMember,
    AsyncTerm,
)
from coordkit._core.keys import LockKeys
from coordkit_cli.acl import rules
from support.servers import HOST, RedisCluster, RedisServer, Sentinels

#: What one may wait for.
Waited: TypeAlias = AsyncLock | AsyncElection
L = TypeVar("L", bound=AsyncLease)


class Place:
    """One server, whatever its kind."""

    #: a plain client with decoded answers, for what no session would do
    raw: Any

    def where(self, api: Api) -> Any:
        """Return what a session of this flavour is made from."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what looks inside."""
        self.raw.close()

    def admit(self, *namespaces: str) -> None:
        """Let sessions of these namespaces in, and no others."""

    def forget_scripts(self) -> None:
        """Have the server forget every script."""
        self.raw.script_flush()

    def lose_data(self) -> None:
        """Have the server lose all its data."""
        self.raw.flushall()

    def dump(self, key: str) -> Any:
        """Return what is stored at *key*, byte by byte; None if nothing is."""
        kind = self.raw.type(key)
        read: dict[str, Any] = {
            "none": lambda _: None,
            "string": self.raw.dump,
            "hash": self.raw.hgetall,
            "zset": lambda key: self.raw.zrange(key, 0, -1, withscores=True),
            "list": lambda key: self.raw.lrange(key, 0, -1),
            "stream": self.raw.xrange,
        }
        return read[kind](key)

    def enqueue(self, lock: Waited, *rids: str, alive: float) -> None:
        """Put waiters into the queue by hand, alive for so many seconds from now on."""
        keys, ends = keys_of(lock), time.time() + alive
        arrival = time.time() * 1e6
        places = {rid: arrival + n for n, rid in enumerate(rids)}
        self.raw.zadd(keys.queue, places)
        self.raw.zadd(keys.alive, dict.fromkeys(rids, ends * 1000))

    def waiting(self, lock: Waited) -> int:
        """Return how many are in the queue, dead or alive."""
        waiting: int = self.raw.zcard(keys_of(lock).queue)
        return waiting

    def asked(self) -> int:
        """Return how many scripts have been run; Redis only."""
        stats = self.raw.info("commandstats")
        return sum(
            stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]
            for name in ("eval", "evalsha")
        )

    def untouched(self, lock: Waited) -> bool:
        """Whether nobody holds the lock or waits for it."""
        k = keys_of(lock)
        return not any(
            self.raw.exists(key)
            for key in (k.lock, k.queue, k.alive, k.waiters, k.holders)
        )


class RedisPlace(Place):
    """A plain server."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.raw = server.client(decode_responses=True)

    def where(self, api: Api) -> Any:
        return self.server.url


class AclPlace(RedisPlace):
    """A server where sessions have the rights that `coordkit acl` prints, and no others."""

    ACL = ("user default off", "user root on >pw ~* &* +@all")

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.raw = server.client(decode_responses=True, username="root", password="pw")

    def where(self, api: Api) -> Any:
        return f"redis://coordkit:secret@{HOST}:{self.server.port}/0"

    def admit(self, *namespaces: str) -> None:
        version = self.raw.info("server")["redis_version"].split(".")
        words = ["reset", "on", ">secret"]
        for namespace in namespaces:
            words += rules(namespace, (int(version[0]), int(version[1])))
        self.raw.execute_command("ACL SETUSER", "coordkit", *words)


class FakePlace(Place):
    """Fakeredis in this process."""

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer()
        self.raw = fakeredis.FakeRedis(server=self._server, decode_responses=True)

    def where(self, api: Api) -> Any:
        blocking = isinstance(api, Threads)
        client: Any = fakeredis.FakeRedis if blocking else fakeredis.FakeAsyncRedis
        return client(server=self._server)


class ClusterPlace(Place):
    """Three masters, each with a third of the slots."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.raw = cluster.client(decode_responses=True)
        nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
        self._url = f"redis+cluster://{nodes}"

    def where(self, api: Api) -> Any:
        return self._url

    def forget_scripts(self) -> None:
        for node in self.raw.get_primaries():
            node.redis_connection.script_flush()

    def lose_data(self) -> None:
        for node in self.raw.get_primaries():
            node.redis_connection.flushall()


class SentinelPlace(Place):
    """A master that is found through its Sentinels."""

    def __init__(self, sentinels: Sentinels) -> None:
        self.raw = sentinels.master.client(decode_responses=True)
        self._url = sentinels.url

    def where(self, api: Api) -> Any:
        return self._url


def keys_of(lock: Waited) -> LockKeys:
    """Return the keys of a lock, or of the one that a leader holds."""
    inner: Any = lock  # or the face of its twin
    keys: LockKeys = (
        inner._office.keys if "Election" in repr(lock) else inner._options.keys
    )
    return keys


def unkeep(lease: AsyncLease | AsyncMember | AsyncLiveNode) -> None:
    """Have a lease renewed no more, as if every renewal got lost."""
    lease._engine.keeper.drop(real(lease))


def stranger() -> str:
    """Return the rid of a request that no session has made."""
    return secrets.token_hex(16) + "x"


async def lead(election: AsyncElection, timeout: float = 15, **how: Any) -> AsyncTerm:
    return await election.campaign(timeout, **how)


async def take(lock: AsyncLock) -> AsyncLease:
    return await lock.acquire(timeout=3)


async def promptly(waiter: Started[L]) -> L:
    """Return the lease of one that was woken, not of one that asked again by itself."""
    began = time.monotonic()
    lease = await waiter
    assert time.monotonic() - began < 1.0, "the wake was lost"
    return lease
