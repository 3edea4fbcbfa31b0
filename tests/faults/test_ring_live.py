"""
Eight processes as live nodes of a ring, under every fault; by hand::

    COORDKIT_TORTURE_SECONDS=60 pytest tests/faults/test_ring_live.py

No key may have two owners at one instant; when all is calm again none is without an owner
for longer than the ttl and a second, be a node killed even then.  COORDKIT_TORTURE_SEED
repeats a plan of faults.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from coordkit import Session
from faults import owners
from faults.chaos import Chaos, Crew
from faults.network import QUESTION, SUBSCRIBE, asks, mute_wakes
from faults.owners import KEYS, RING, TTL, Order
from support.history import Event, now, read
from support.polling import until
from support.proxy import Proxy
from support.servers import RedisServer

SECONDS = float(os.environ.get("COORDKIT_TORTURE_SECONDS", "6"))
SEED = os.environ.get("COORDKIT_TORTURE_SEED")
NAMESPACE = "live"
PROCESSES = 8
#: How long it is calm in the end, and when in it one is killed.
CALM, KILLED = 2 * TTL + 4.0, TTL + 1.5
TARGETS = (
    *(QUESTION, SUBSCRIBE),
    *map(asks, ("ring_commit", "ring_read", "group_beat", "group_join", "group_look")),
)
FAULTS = {
    "restart": 1,
    "kill": 4,
    "freeze": 4,
    "stall": 2,
    "lose": 8,
    "halve": 2,
    "cut": 2,
    "mute": 3,
    "hole": 2,
    "delay": 2,
}


class Unrest(Chaos):
    """Chaos, and connections on which no message comes through."""

    def _mute(self) -> bool:
        muted = mute_wakes(self._proxy) > 0
        self._later(self._rng.uniform(0.5, 3), self._proxy.cut)
        return muted


class Span(NamedTuple):
    """A key was owned by a process, by a token, at least from then to then."""

    since: float
    until: float
    process: str
    token: int


class Calm(NamedTuple):
    """From when to when nothing was wrong but that one was killed."""

    since: float
    until: float


def test_live_nodes(tmp_path: Path, capsys: Any) -> None:
    seed = int(SEED) if SEED else secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # noqa: T201 -- shown when it fails
    faults, calm = _unrest(tmp_path, seed)
    events = read(sorted(tmp_path.glob("*.jsonl")))
    told = _judge(events, calm)
    with capsys.disabled():
        struck = ", ".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
        print(f"\nlive nodes seed={seed} {SECONDS:g} s: {told}; {struck}")  # noqa: T201


def _unrest(at: Path, seed: int) -> tuple[Counter[str], Calm]:
    stop, settle = at / "stop", at / "settle"
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(persistence="always"))
        proxy = stack.enter_context(Proxy(server.port))
        with Session(server.url, namespace=NAMESPACE) as s:
            s.ring(RING).create(slots=1024)

        def order(place: int, name: str) -> dict[str, Any]:
            told = Order(
                flavour="sync" if place % 2 else "async",
                process=name,
                node=f"n{place}",
                seed=seed,
                url=(proxy if place < PROCESSES - 2 else server).url,
                namespace=NAMESPACE,
                history=str(at / f"{name}.jsonl"),
                stop=str(stop),
                settle=str(settle),
            )
            return asdict(told)

        crew = Crew(PROCESSES, owners.work, order, at / "test.jsonl")
        stack.callback(crew.close)
        until(lambda: len(list(at.glob("*.jsonl"))) > PROCESSES, timeout=20)
        chaos = Unrest(random.Random(seed), server, proxy, crew, TARGETS)
        chaos.let_loose(SECONDS, FAULTS)
        settle.touch()
        chaos.heal()
        since = now()
        time.sleep(KILLED)
        crew.kill(0)
        time.sleep(CALM - KILLED)
        calm = Calm(since, now())
        crew.check()
        stop.touch()
        crew.finish(within=15.0)
        with Session(server.url, namespace=NAMESPACE) as s:
            assert s.ring(RING).verify() == []
        return chaos.faults, calm


# -- the checks -----------------------------------------------------------------------


def _judge(events: Sequence[Event], calm: Calm) -> str:
    spans, longest = _spans(events), 0.0
    for key in KEYS:
        _one_owner(key, spans[key])
        longest = max(longest, _covered(key, spans[key], calm))
        _in_order(key, events)
    did = Counter(event.what for event in events)
    assert did["refused"], "nothing was refused: it shows nothing"
    assert did["revoked"]
    assert did["left"]
    moves = sum(len(spans[key]) for key in KEYS)
    assert moves > 3 * len(KEYS)
    return (
        f"{did['joined']} joins, {did['left']} left, {moves} spans of {len(KEYS)} keys, "
        f"{did['revoked']} told of a hand-over, {did['fenced']} writes, "
        f"{did['refused']} refused, {longest:.2f} s without an owner at most when calm"
    )


def _spans(events: Iterable[Event]) -> dict[str, list[Span]]:
    """What each process has put down, key by key: the longest of each token."""
    found: dict[tuple[str, str, int], Span] = {}
    for event in events:
        if event.what in {"owns", "owned"} and event.token is not None:
            since = event.more.get("since", event.at)
            until_ = event.more.get("until", event.at)
            known = found.get((event.name, event.process, event.token))
            if known is not None:
                since, until_ = min(since, known.since), max(until_, known.until)
            span = Span(since, until_, event.process, event.token)
            found[event.name, event.process, event.token] = span
    by_key: defaultdict[str, list[Span]] = defaultdict(list)
    for (key, *_), span in found.items():
        by_key[key].append(span)
    return by_key


def _one_owner(key: str, spans: Sequence[Span]) -> None:
    """No two at one instant, no token twice, and tokens rise in real time."""
    ordered = sorted(spans)
    for before, after in pairwise(ordered):
        assert before.until <= after.since, f"{key} had two owners: {before}, {after}"
        assert before.token < after.token, f"{key}: {before} was before {after}"


def _covered(key: str, spans: Sequence[Span], calm: Calm) -> float:
    """Return how long it had no owner, at most, once all was calm: no longer than allowed."""
    at, longest = calm.since, 0.0
    for span in sorted(spans):
        if span.until >= at:
            longest = max(longest, min(span.since, calm.until) - at)
            at = max(at, span.until)
    longest = max(longest, calm.until - at)
    assert longest <= TTL + 1.0, f"{key} had no owner for {longest:.3f} s"
    return longest


def _in_order(key: str, events: Iterable[Event]) -> None:
    """What was asked after a newer token was known to be admitted is not admitted."""
    fenced = [e for e in events if (e.what, e.name) == ("fenced", key)]
    highest: list[tuple[float, int]] = []
    for event in sorted(fenced, key=lambda event: event.more["began"]):
        newer = [t for at, t in highest if at < event.more["began"]]
        assert event.token is not None
        assert not newer or max(newer) <= event.token, f"{event} was admitted late"
        highest.append((event.at, event.token))
