"""Who is compared: one leadership, won, kept and given up, in everybody's own way."""

from __future__ import annotations

import importlib.util
import os
import time
from contextlib import suppress
from typing import Any, Protocol

from coordkit import Session, Term

from ..lock import contestants as locks
from ..report import OURS

TTL = 30
#: The lock of coordkit is what a hand-over is compared with.
LOCK, REDIS_PY, TOOZ = "its lock", "redis-py", "tooz"
#: The columns of the table.
ALL = (OURS, LOCK, REDIS_PY, TOOZ)
#: How long the loop of tooz's manual sleeps, and redis-py's lock between two attempts.
NAP = 0.1


class Contestant(locks.Contestant, Protocol):
    """One leadership: `take` campaigns, `give` resigns."""

    def keep(self) -> None:
        """Lead until killed."""
        ...


class Maker(Protocol):
    """Makes one, at a server's URL; it stands in a module."""

    def __call__(self, url: str, name: str, ttl: int = TTL) -> Contestant: ...


def absent() -> list[str]:
    """Return the peers that are not installed."""
    return [] if importlib.util.find_spec("tooz") else [TOOZ]


class Ours:
    """coordkit's election; its session's keeper renews."""

    def __init__(self, url: str, name: str, ttl: int = TTL) -> None:
        self._session = Session(url)
        self._election = self._session.election(name, ttl=ttl)
        self._term: Term | None = None

    def take(self) -> int:
        self._term = self._election.campaign()
        return self._term.token

    def keep(self) -> None:
        assert self._term is not None
        self._term.lost.wait()

    def give(self) -> None:
        assert self._term is not None
        self._term.resign()

    def close(self) -> None:
        self._session.close()


class RedisPy:
    """redis-py's lock, as it is used for an election: taken, and taken again in time."""

    def __init__(self, url: str, name: str, ttl: int = TTL) -> None:
        self._client = locks.client(url, socket_timeout=None)
        self._lock = self._client.lock(name, timeout=ttl, sleep=NAP)
        self._ttl = ttl

    def take(self) -> int:
        if not self._lock.acquire():
            raise AssertionError(f"{self._lock!r} was not acquired")
        return 0

    def keep(self) -> None:
        while True:
            time.sleep(self._ttl / 3)
            self._lock.reacquire()

    def give(self) -> None:
        self._lock.release()

    def close(self) -> None:
        self._client.close()


class Tooz:
    """
    The coordinator of tooz, on its Redis driver.

    That driver knows no standing down: what `stop` does with the leader's lock is done
    without the rest of it.
    """

    def __init__(self, url: str, name: str, ttl: int = TTL) -> None:
        from tooz import coordination

        self._elected = False
        member, group = f"{os.getpid()}".encode(), name.encode()
        self._coordinator: Any = coordination.get_coordinator(
            f"{url}?timeout={ttl}", member
        )
        self._coordinator.start()
        with suppress(coordination.GroupAlreadyExist):
            self._coordinator.create_group(group).get()
        self._coordinator.join_group(group).get()
        self._coordinator.watch_elected_as_leader(group, self._note)

    def _note(self, event: Any) -> None:
        self._elected = True

    def _turn(self) -> None:
        """Do what its manual's loop does."""
        self._coordinator.heartbeat()
        self._coordinator.run_watchers()

    def take(self) -> int:
        self._elected = False
        self._turn()
        while not self._elected:
            time.sleep(NAP)
            self._turn()
        return 0

    def keep(self) -> None:
        while True:
            time.sleep(NAP)
            self._turn()

    def give(self) -> None:
        for lock in self._coordinator._acquired_locks.copy():
            lock.release()

    def close(self) -> None:
        self._coordinator.stop()


MAKERS: dict[str, Maker] = {OURS: Ours, REDIS_PY: RedisPy, TOOZ: Tooz}


def makers() -> dict[str, Maker]:
    """Return those who are installed."""
    away = absent()
    return {name: make for name, make in MAKERS.items() if name not in away}
