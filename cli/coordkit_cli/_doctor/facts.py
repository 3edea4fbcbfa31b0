"""
What a server and the way to it are like: asked, measured, tried, and judged nowhere here.

A managed server refuses some questions.  What it did not say is absent, with the refusal
beside it: never guessed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coordkit import CoordError, Session

from .._plain import Ask, masters, pairs, plain, sections, told

if TYPE_CHECKING:
    from coordkit._io.connect import Source

#: Enough for a median that one slow answer does not move.
ROUNDS = 21
#: A replica that lives behind another network must not hold up the rest.
REPLICA_TIMEOUT = 0.5
SETTINGS = (
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "min-replicas-to-write",
    "min-replicas-max-lag",
)


@dataclass(frozen=True)
class Clock:
    """How far a server's clock is ahead of ours, in seconds, give or take *within*."""

    ahead: float
    within: float


@dataclass(frozen=True)
class Replica:
    """A replica, as its master describes it; *clock*: None if it could not be asked."""

    address: str
    state: str
    lag: str
    clock: Clock | None


@dataclass(frozen=True)
class Facts:
    """What is known of one server; all that it did not tell is absent."""

    address: str
    info: dict[str, str] = field(default_factory=dict[str, str])
    config: dict[str, str] = field(default_factory=dict[str, str])
    #: by the question: what the server said to it
    refused: dict[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    #: round trips, in seconds
    trips: Sequence[float] = ()
    clock: Clock | None = None
    replicas: Sequence[Replica] = ()


@dataclass(frozen=True)
class Way:
    """How the server is reached: "tcp", "unix", "sentinel" or "cluster"."""

    kind: str
    hosts: Sequence[str]
    tls: bool
    #: why a lock could not be taken and given back; None when it could
    trial: CoordError | None


def way(session: Session) -> Way:
    """Return how *session* reaches its server, after trying it with a lock."""
    its = session._engine.source._origin.address
    hosts = [host for host, _ in its.hosts]
    return Way(its.kind, hosts, its.tls, _tried(session))


def _tried(session: Session) -> CoordError | None:
    name = f"coordkit-doctor-{secrets.token_hex(8)}"
    try:
        with session.lock(name, ttl=10).acquire(timeout=5) as lease:
            session.lock(name).info()
            lease.renew()
    except CoordError as error:
        return error
    return None


def servers(session: Session) -> list[Facts]:
    """Return the facts of the server, or of every master of a cluster."""
    where = session._engine.source
    return [_facts(where, node) for node in masters(session)]


def _facts(where: Source, node: tuple[str, int] | None) -> Facts:
    address = where.address if node is None else f"{node[0]}:{node[1]}"
    refused: dict[str, str] = {}
    with plain(where, node) as ask:

        def asked(*command: str) -> Any:
            try:
                return ask(*command)
            except CoordError as error:
                refused[" ".join(command)] = str(error)
                return None

        said = asked("INFO", "everything") or asked("INFO") or b""
        config: dict[str, str] = {}
        for name in SETTINGS:
            config |= pairs(asked("CONFIG", "GET", name) or ())
        user = asked("ACL", "WHOAMI")
        info = sections(said)
        return Facts(
            address=address,
            info=info,
            config=config,
            refused=refused,
            user=None if user is None else told(user),
            trips=_trips(ask),
            clock=_clock(ask),
            replicas=[_replica(where, line) for line in _replica_lines(info)],
        )


def _trips(ask: Ask) -> list[float]:
    """Return how long questions took that need no work of the server."""
    trips: list[float] = []
    try:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            ask("PING")
            trips.append(time.perf_counter() - begun)
    except CoordError:
        return []
    return sorted(trips)


def _clock(ask: Ask) -> Clock | None:
    """Compare the clocks: the answer was given somewhere between question and reply."""
    best: Clock | None = None
    try:
        for _ in range(5):
            before = time.time()
            seconds, micros = ask("TIME")
            after = time.time()
            within = (after - before) / 2
            ahead = int(seconds) + int(micros) / 1e6 - (before + within)
            if best is None or within < best.within:
                best = Clock(ahead, within)
    except CoordError:
        return best
    return best


def _replica_lines(info: dict[str, str]) -> list[dict[str, str]]:
    """Return the replicas that INFO lists: ``slave0:ip=…,port=…,state=…,lag=…``."""
    names = [f"slave{n}" for n in range(int(info.get("connected_slaves", "0")))]
    return [_fields(info[name]) for name in names if name in info]


def _fields(line: str) -> dict[str, str]:
    parts = [part.partition("=") for part in line.split(",")]
    return {name: value for name, _, value in parts}


def _replica(where: Source, line: dict[str, str]) -> Replica:
    host, port = line.get("ip", ""), line.get("port", "0")
    clock = None
    if host and port.isdecimal():
        with plain(where, (host, int(port)), timeout=REPLICA_TIMEOUT) as ask:
            clock = _clock(ask)
    address = f"{host}:{port}"
    return Replica(address, line.get("state", ""), line.get("lag", ""), clock)
