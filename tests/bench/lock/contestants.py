"""Who is compared: one name taken and given back, in everybody's own way."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordkit import Lease, Session

TTL = 30
FLOOR, OURS = "floor", "coordkit"
REDIS_PY, REDIS_LOCK, POTTERY = "redis-py", "python-redis-lock", "pottery"
#: The columns of the table.
ALL = (FLOOR, OURS, REDIS_PY, REDIS_LOCK, POTTERY)
_MODULES = {REDIS_LOCK: "redis_lock", POTTERY: "pottery"}

DELETE_IF_EQUAL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Contestant(Protocol):
    """One name, to be taken and given back again and again."""

    def take(self) -> int:
        """Wait for the name and take it; return its fencing token, 0 if it has none."""
        ...

    def give(self) -> None:
        """Give it back."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def absent() -> list[str]:
    """Return the peers that are not installed."""
    found = importlib.util.find_spec
    return [name for name, module in _MODULES.items() if found(module) is None]


def client(url: str, **settings: Any) -> redis.Redis:
    """Return a client as users have it, but one that repeats nothing."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **settings)


class Bare:
    """The floor of a cycle: the two questions that no lock can do without."""

    def __init__(self, url: str, name: str) -> None:
        self._client = client(url)
        self._name = name
        self._value = ""
        self._digest = self._client.script_load(DELETE_IF_EQUAL)

    def take(self) -> int:
        self._value = os.urandom(16).hex()
        if not self._client.set(self._name, self._value, nx=True, px=TTL * 1000):
            raise AssertionError(f"{self._name!r} was taken")
        return 0

    def give(self) -> None:
        if self._client.evalsha(self._digest, 1, self._name, self._value) != 1:
            raise AssertionError(f"{self._name!r} was not ours")

    def close(self) -> None:
        self._client.close()


class Blpop:
    """The floor of a hand-over: one element of a list goes round."""

    def __init__(self, url: str, name: str) -> None:
        self._client = client(url, socket_timeout=None)
        self._name = name

    def take(self) -> int:
        self._client.blpop([self._name], 0)
        return 0

    def give(self) -> None:
        self._client.rpush(self._name, "1")

    def close(self) -> None:
        self._client.close()


class Ours:
    """coordkit's lock; *anew*: made again for each cycle, else once."""

    def __init__(self, url: str, name: str, *, anew: bool = False) -> None:
        self._session = Session(url)
        self._name = name
        self._lock = None if anew else self._session.lock(name, ttl=TTL)
        self._lease: Lease | None = None

    def take(self) -> int:
        lock = self._lock or self._session.lock(self._name, ttl=TTL)
        self._lease = lock.acquire()
        return self._lease.token

    def give(self) -> None:
        assert self._lease is not None
        self._lease.release()

    def close(self) -> None:
        self._session.close()


class Peer:
    """A lock object with `acquire` and `release`; *anew* as above."""

    def __init__(
        self, client: redis.Redis, make: Callable[[], Any], *, anew: bool
    ) -> None:
        self._client = client
        self._make = make
        self._anew = anew
        self._lock: Any = make()

    def take(self) -> int:
        if self._anew:
            self._lock = self._make()
        if not self._lock.acquire():
            raise AssertionError(f"{self._lock!r} was not acquired")
        return 0

    def give(self) -> None:
        self._lock.release()

    def close(self) -> None:
        self._client.close()


def redis_py(url: str, name: str, *, anew: bool = False) -> Peer:
    """Return redis-py's own lock, which asks every 0.1 s while it waits."""
    ours = client(url, socket_timeout=None)
    return Peer(ours, lambda: ours.lock(name, timeout=TTL), anew=anew)


def redis_lock(url: str, name: str, *, anew: bool = False) -> Peer:
    """Return python-redis-lock's, whose waiters block in BLPOP."""
    from redis_lock import Lock

    ours = client(url, socket_timeout=None)
    return Peer(ours, lambda: Lock(ours, name, expire=TTL), anew=anew)


def pottery(url: str, name: str, *, anew: bool = False) -> Peer:
    """Return pottery's Redlock, with a single master."""
    from pottery import Redlock

    ours = client(url)

    def make() -> Any:
        return Redlock(key=name, masters={ours}, auto_release_time=TTL)

    return Peer(ours, make, anew=anew)
