"""
Elections under every fault, and how long a successor takes; by hand::

    COORDKIT_TORTURE_SECONDS=60 pytest tests/faults/test_electing.py
    COORDKIT_TRIALS=200 pytest tests/faults/test_electing.py

COORDKIT_TORTURE_SEED repeats a plan of faults.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from coordkit import Election, Session
from faults import candidates
from faults.candidates import NAME
from faults.chaos import Chaos, Crew
from faults.crew import TTL
from faults.network import QUESTION, SUBSCRIBE, asks
from faults.ruler import Ruler
from faults.tellers import orders
from faults.torture import FAULTS
from faults.verdict import PATIENCE
from support.history import Event, no_overlap, now, progress, read, tokens_rise
from support.polling import until
from support.processes import Child, worker
from support.proxy import Proxy
from support.servers import RedisServer

SECONDS = float(os.environ.get("COORDKIT_TORTURE_SECONDS", "6"))
SEED = os.environ.get("COORDKIT_TORTURE_SEED")
TRIALS = int(os.environ.get("COORDKIT_TRIALS", "4"))
NAMESPACE = "electing"
PROCESSES = 6
SLACK = 0.5
#: A short term is frozen away soon.
SHORT = 0.4
SCRIPTS = ("lock_acquire", "lock_release", "lock_renew", "election_look")
TARGETS = (QUESTION, SUBSCRIBE, *map(asks, SCRIPTS))


# -- the torture -----------------------------------------------------------------------


@pytest.mark.parametrize(("variety", "share"), [("strict", 1.0), ("journal", 0.5)])
def test_two_never_lead_and_observers_see_all(
    variety: str, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(SEED) if SEED else secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # noqa: T201 -- shown when it fails
    faults = _torture(variety, share * SECONDS, tmp_path, seed)
    events = read(sorted(tmp_path.glob("*.jsonl")))
    own = [event for event in events if event.what != "saw"]
    no_overlap(own)
    tokens_rise(own)
    progress(own, within=PATIENCE)
    _observed(events)
    what = Counter(event.more.get("kind", event.what) for event in events)
    struck = ", ".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
    with capsys.disabled():
        print(  # noqa: T201 -- the counts
            f"\nelecting {variety} seed={seed} {share * SECONDS:g} s: "
            f"{what['granted']} terms, {what['renewed']} renewals, {what['lost']} lost; "
            f"told {what['Elected']} elections, {what['Vacant']} ends, "
            f"{what['Suspended']} silences, {what['Missed']} gaps; {struck}"
        )


def _torture(variety: str, seconds: float, at: Path, seed: int) -> Counter[str]:
    """Let them stand amid the chaos, then in peace; return what struck."""
    stop = at / "stop"
    with ExitStack() as stack:
        server = stack.enter_context(
            RedisServer(persistence="always" if variety == "journal" else "none")
        )
        proxy = stack.enter_context(Proxy(server.port))

        order = orders(at, proxy.url, server.url, seed, NAMESPACE, PROCESSES)
        crew = Crew(PROCESSES, candidates.work, order, at / "test.jsonl")
        stack.callback(crew.close)
        until(lambda: len(list(at.glob("*.jsonl"))) > PROCESSES, timeout=20)
        chaos = Chaos(random.Random(seed), server, proxy, crew, TARGETS)
        chaos.let_loose(seconds, FAULTS[variety])
        chaos.heal()
        time.sleep(1.0)  # in peace: everybody hears again
        crew.check()
        stop.touch()
        with Session(server.url, namespace=NAMESPACE) as s:
            _nobody_stands(s.election(NAME))
            s.election(NAME).pause()  # the last that observers see
        crew.finish(within=15.0)
        return chaos.faults


def _nobody_stands(election: Election) -> None:
    def over() -> bool:
        info = election.info()
        return info.leader is None and not info.candidates

    until(over, timeout=15.0, every=0.05)


def _observed(events: Sequence[Event]) -> None:
    """Check that each observer was told each term, in order, or that it missed some."""
    granted = sorted({event.token or 0 for event in events if event.what == "granted"})
    sights: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.what == "saw":
            sights[event.process].append(event)
    told = 0
    for saw in sights.values():
        for stretch in _without_gaps(saw):
            told += len(stretch)
            for one, two in pairwise(stretch):
                assert one < two, f"told of term {two} after {one}"
                between = granted[bisect(granted, one) : bisect(granted, two) - 1]
                assert two not in granted or not between, f"not told of {between}"
        silences = [e.more["kind"] for e in saw if e.token is None]
        silences = [kind for kind in silences if kind in ("Suspended", "Resumed")]
        assert all(one != two for one, two in pairwise(silences)), silences
        if saw[-1].more["kind"] == "Paused":  # it has lived to the end
            last = [e.token for e in saw if e.more["kind"] == "Elected"][-1:]
            assert not last or (last[0] or 0) >= granted[-1], (
                f"not told of {granted[-1]}"
            )
    assert told > len(granted), "hardly anything was observed"


def _without_gaps(saw: Sequence[Event]) -> Iterator[list[int]]:
    stretch: list[int] = []
    for event in saw:
        if event.more["kind"] == "Missed":
            yield stretch
            stretch = []
        elif event.more["kind"] == "Elected":
            stretch.append(event.token or 0)
    yield stretch


# -- a leader that is killed, or frozen -------------------------------------------------


def _leads(child: Child, at: Path) -> Path:
    """Wait until the worker leads; return where it puts down that it does."""

    def leading() -> Path | None:
        assert child.alive, child.output()
        latest = sorted(at.glob("*.jsonl"))[-1:]
        events = read(latest)
        return latest[0] if events and events[-1].what == "held" else None

    found = until(leading, timeout=20.0)
    assert found is not None
    return found


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_killed_leader_has_a_successor_within_its_ttl(
    flavour: str,
    server: RedisServer,
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    took: list[float] = []
    told = flavour, server.url, namespace, TTL, str(tmp_path)
    with Session(server.url, namespace=namespace) as s, Ruler() as ruler:
        election = s.election(NAME, ttl=TTL)
        for _ in range(TRIALS):
            with worker(candidates.lead, *told) as leader:
                history = _leads(leader, tmp_path)
                leader.sigkill()
                killed = now()
            with election.campaign(timeout=20) as mine:
                took.append(now() - killed)
                (token, *_) = {event.token for event in read([history])}
                assert mine.token > (token or 0)
            history.unlink()
    took.sort()
    p99 = took[len(took) * 99 // 100]
    with capsys.disabled():
        print(  # noqa: T201 -- the figure
            f"\n{TRIALS} leaders killed ({flavour}), ttl {TTL} s: a successor after "
            f"{took[len(took) // 2]:.3f} s (median), {p99:.3f} s (p99)"
        )
    ruler.judge(p99, TTL + SLACK)


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_frozen_leader_has_stepped_down_before_the_next_begins(
    flavour: str,
    server: RedisServer,
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spare: list[float] = []
    told = flavour, server.url, namespace, SHORT, str(tmp_path)
    with (
        Session(server.url, namespace=namespace) as s,
        worker(candidates.lead, *told) as leader,
    ):
        election = s.election(NAME, ttl=10)  # ours is not to end by itself
        for _ in range(TRIALS):
            history = _leads(leader, tmp_path)
            leader.sigstop()
            with election.campaign(timeout=20):
                began = now()
                leader.sigcont()
                believed = _believed(history)
            acted = max(event.at for event in believed)
            deadline = max(event.deadline or 0.0 for event in believed)
            assert acted < deadline < began
            spare.append(began - deadline)
    with capsys.disabled():
        print(  # noqa: T201 -- the figure
            f"\n{len(spare)} of {TRIALS} frozen leaders ({flavour}) had stepped down "
            f"before the next began, {min(spare):.3f} s or more"
        )


def _believed(history: Path) -> list[Event]:
    """Wait until the leader sees that it leads no more; return when it believed so."""

    def stepped_down() -> list[Event] | None:
        events = read([history])
        return events if events[-1].what == "stepped down" else None

    return [e for e in until(stepped_down, timeout=20.0) or () if e.what == "held"]
