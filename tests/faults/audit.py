"""What must be true of what the tellers have counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from coordkit import Entry
from support.history import Event

#: Of more than so many unknown amounts it takes long to say which sums there are.
MOST_UNKNOWN = 20


@dataclass(frozen=True)
class Books:
    """What there was in the end."""

    values: dict[str, int]
    journal: list[Entry]


def audit(events: Sequence[Event], books: Books) -> str:
    """Check all of it; return the line that sums it up."""
    unknown = Counter[str]()
    for name in ("plain", "chosen", "many 0", "many 1", "many 2", "row"):
        unknown[name] = in_a_row(name, events, books.values[name])
    unknown["wide"] = exact("wide", events, books.values["wide"])
    unknown["journal"] = journaled(events, books.journal)
    in_order_of_tokens(events)
    ids = each_once(events)
    did = Counter(event.name for event in events if event.what == "did")
    refused = Counter(event.name for event in events if event.what == "refused")
    assert refused["row"] and refused["journal"], (
        "nothing was refused: it shows nothing"
    )
    assert all(did[name] for name in ("plain", "chosen", "wide", "many 0", "journal"))
    return (
        f"{sum(did.values())} changes ({_told(did)}), {_told(unknown)} unknown, "
        f"{_told(refused)} refused; {ids} ids"
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items()) if n) or "0"


def _done(name: str, events: Iterable[Event]) -> list[Event]:
    """Return what is known to have been done, each once, by value."""
    did = {
        event.more["amount"]: event
        for event in events
        if (event.what, event.name) == ("did", name)
    }
    return sorted(did.values(), key=lambda event: event.more["value"])


def _unknown(name: str, events: Sequence[Event]) -> set[int]:
    """Return the amounts of which nobody was told what became of them."""
    of = [event for event in events if event.name == name]
    asked = {event.more["amount"] for event in of if event.what == "asks"}
    return asked - {e.more["amount"] for e in of if e.what in ("did", "refused")}


def in_a_row(name: str, events: Sequence[Event], end: int) -> int:
    """
    Check that the answers are those of adding one after another, in some order of time.

    Between two of them only what is unknown may have been added, each once.
    """
    done, unknown = _done(name, events), _unknown(name, events)
    number, value, latest = len(unknown), 0, 0.0
    for event in done:
        gap = event.more["value"] - event.more["amount"] - value
        unknown -= explained(gap, unknown, f"{name}, before {event}")
        value = event.more["value"]
        assert event.at >= latest, f"{name}: {event} was told before it was asked for"
        latest = max(latest, event.more["began"])
    explained(end - value, unknown, f"{name}, at the end")
    return number


def explained(gap: int, unknown: set[int], where: str) -> set[int]:
    """Return the few of the unknown amounts that make up a gap."""
    if gap == 0:
        return set()
    for size in range(1, 4):
        for some in combinations(unknown, size - 1):
            last = gap - sum(some)
            if last in unknown and last not in some:
                return {*some, last}
    four = {a + b: {a, b} for a, b in combinations(unknown, 2)}
    for total, pair in four.items():
        other = four.get(gap - total, pair)
        if not other & pair:
            return pair | other
    raise AssertionError(f"{gap} was counted, and nobody knows of it: {where}")


def exact(name: str, events: Sequence[Event], end: int) -> int:
    """Check that there is what was added, each once, and perhaps what is unknown."""
    unknown = _unknown(name, events)
    assert len(unknown) <= MOST_UNKNOWN, "fewer workers must be killed"
    left = end - sum(event.more["amount"] for event in _done(name, events))
    sums = {0}
    for amount in unknown:
        sums |= {each + amount for each in sums}
    assert left in sums, f"{name} has {left} more than what was added"
    return len(unknown)


def journaled(events: Sequence[Event], journal: Sequence[Entry]) -> int:
    """Check that each entry is there once, under its number, and terms do not fall."""
    there = {entry.number: int(entry.value) for entry in journal}
    assert len(set(there.values())) == len(there), "an entry is there twice"
    for event in _done("journal", events):
        assert there[event.more["value"]] == event.more["amount"], event
    unknown = _unknown("journal", events)
    known = {event.more["amount"] for event in _done("journal", events)}
    assert set(there.values()) - known <= unknown, "an entry that nobody has appended"
    assert list(there) == list(range(1, len(there) + 1))
    for before, after in pairwise(journal):
        assert before.term <= after.term, f"{after} was appended after {before}"
    return len(unknown)


def in_order_of_tokens(events: Sequence[Event]) -> None:
    """Check that the higher a fenced value, the higher its token; and who was refused."""
    for before, after in pairwise(_done("row", events)):
        assert (before.token or 0) <= (after.token or 0), (
            f"{before} came before {after}"
        )
    for event in events:
        if event.what == "refused":
            assert event.more["seen"] > (event.token or 0), f"for nothing: {event}"


def each_once(events: Sequence[Event]) -> int:
    """Check that no id was taken twice; return how many there were."""
    taken = [
        n for event in events if event.what == "took" for n in event.more["numbers"]
    ]
    assert len(set(taken)) == len(taken), "an id was handed out twice"
    return len(taken)
