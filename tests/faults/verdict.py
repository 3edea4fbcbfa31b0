"""What must be true of the history of a torture, and the line that sums it up."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from faults.chaos import FREEZE, HOLE, STALL
from faults.crew import ALONE, TTL, WAITER_TTL
from faults.torture import Birth, Torture
from support.history import (
    Event,
    fenced_writes_in_order,
    no_overlap,
    progress,
    tokens_rise,
)

#: Nothing may be granted for so long: a dead holder, then a dead head of the queue,
#: both of a frozen process, while the server stalls and the network has a hole.
PATIENCE = TTL + WAITER_TTL + FREEZE + STALL + HOLE + 1.0


def judge(torture: Torture, events: Sequence[Event]) -> None:
    """Check all of it."""
    of_locks = [e for e in events if not e.name.startswith(("resource ", "fence "))]
    of_fences = [event for event in events if event.name.startswith("fence ")]
    for life in lives(torture, of_locks):
        alone = [event for event in life if event.name in ALONE]
        if alone:
            no_overlap(alone)
        within_limits(life)
    tokens_rise(of_locks)
    progress(of_locks, within=PATIENCE)
    fenced_writes_in_order([e for e in events if e.name.startswith("resource ")])
    assert any(event.what == "refused" for event in of_fences)
    for births in pairwise([*torture.births, Birth(math.inf, 0)]):
        fenced_in_time(of_fences, *(birth.at for birth in births))


def lives(torture: Torture, events: Sequence[Event]) -> list[list[Event]]:
    """
    Return the events in groups of which each must be free of overlaps.

    A server that lost its data knows nothing of the leases of the one before: these
    are excused, for they end within a ttl.  Which server granted a lease, its token
    tells, for it is the time of the grant.
    """
    if torture.variety != "empty":
        return [list(events)]
    firsts = [birth.token for birth in torture.births]
    groups: list[list[Event]] = [[] for _ in firsts]
    for event in events:
        if event.token is not None:
            groups[bisect(firsts, event.token) - 1].append(event)
    return [g for g in groups if any(event.what == "granted" for event in g)]


def within_limits(events: Iterable[Event]) -> None:
    """Check that never more held a name at once than each of them had agreed to."""
    ends: dict[tuple[str, int | None], float] = {}
    for event in events:
        if event.what in ("released", "lost"):
            ends[event.name, event.token] = event.at
    beliefs: dict[str, list[tuple[float, float, Event]]] = {}
    for event in events:
        if event.what in ("granted", "renewed"):
            assert event.deadline is not None
            end = min(
                event.deadline, ends.get((event.name, event.token), event.deadline)
            )
            if end > event.at:
                beliefs.setdefault(event.name, []).append((event.at, end, event))
    for of_name in beliefs.values():
        held: list[tuple[float, Event]] = []
        for start, end, event in sorted(of_name, key=lambda belief: belief[0]):
            held = [(until, other) for until, other in held if until > start]
            together = {other.token for _, other in held} | {event.token}
            least = min(other.more["limit"] for _, other in [*held, (end, event)])
            assert len(together) <= least, (
                f"{len(together)} hold {event.name!r} at once, agreed were {least}:\n"
                + "\n".join(str(other) for other in [*(o for _, o in held), event])
            )
            held.append((end, event))


def fenced_in_time(events: Iterable[Event], start: float, end: float) -> None:
    """
    Check that no write passed a `Fence` that had admitted a newer token before it began.

    Only of writes between *start* and *end*: in between no server lost its data.
    """
    taken = [e for e in events if e.what == "fenced"]
    of_life = [e for e in taken if start < e.more["began"] and e.at < end]
    of_life.sort(key=lambda event: event.at)
    for name in {event.name for event in of_life}:
        admitted = [event for event in of_life if event.name == name]
        at = [event.at for event in admitted]
        highest = list(accumulate((event.token or 0 for event in admitted), max))
        for event in admitted:
            before = bisect(at, event.more["began"])
            assert not before or highest[before - 1] <= (event.token or 0), (
                f"a Fence took {event} after {highest[before - 1]}"
            )
    for event in events:
        if event.what == "refused":
            assert event.more["seen"] > (event.token or 0), f"for nothing: {event}"


def summary(torture: Torture, events: Sequence[Event]) -> str:
    """Return the line that tells what the torture was."""
    what = Counter(event.what for event in events)
    why = Counter(e.more["why"] for e in events if e.what == "gave_up")
    reasons = Counter(e.more["reason"] for e in events if e.what == "lost")
    by = Counter(e.name.split()[0] for e in events if e.what == "refused")
    span = events[-1].at - events[0].at
    return (
        f"torture {torture.variety} seed={torture.seed} {torture.seconds:g} s: "
        f"{what['granted']} grants ({what['granted'] / span:.0f}/s), "
        f"{what['renewed']} renewals, {_told(reasons)} lost, {_told(why)} not had; "
        f"{what['wrote']} + {what['fenced']} writes, {_told(by)} refused; "
        f"faults: {_told(torture.faults)}; replies and lines: {_told(torture.lines)}"
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items())) or "0"
