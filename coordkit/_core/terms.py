"""The terms of an election: who leads, who has led, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from ..errors import KeyConflict
from .claim import read_meta
from .observe import Resumed, Suspended
from .reply import number, text


@dataclass(frozen=True, slots=True)
class Leader:
    """
    Who leads, as the server told it at one instant; it may have changed since.

    *token* is the term, *since* in seconds of the server's clock.  *holder* is the
    random id of this campaign, *expires_in* in seconds: 0 of one who has led.
    """

    identity: str
    token: int
    since: float
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    holder: str = ""
    expires_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who waits to lead.  *holder* is the random id of this campaign."""

    identity: str
    priority: int
    meta: Mapping[str, Any]
    holder: str


@dataclass(frozen=True, slots=True)
class ElectionInfo:
    """
    An election, as the server told it at one instant; it may have changed since.

    *state* is ``"led"``, ``"vacant"`` or ``"paused"``; *candidates* come in the order
    in which they would be elected.  *paused_by* and *reason* are empty unless it is
    paused, perhaps with a leader who has not resigned yet.
    """

    name: str
    state: str
    leader: Leader | None
    candidates: tuple[Candidate, ...]
    paused_by: str = ""
    reason: str = ""


# -- what is told ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elected:
    """A term has begun; told first of all if somebody leads already."""

    leader: Leader


@dataclass(frozen=True, slots=True)
class Vacant:
    """
    The term *token* of *identity* has ended, at *at* in seconds of the server's clock.

    *how*: ``"resigned"``, or ``"lost"``, which is noticed some time after it happened.
    Where nobody has led yet, as far as is known, the token is 0 and *how* empty.
    """

    identity: str
    token: int
    at: float
    how: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nobody is elected until `Unpaused`; who leads was asked to resign."""

    identity: str
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Unpaused:
    """The pause has ended; *identity* is empty if it ended by itself."""

    identity: str
    at: float


@dataclass(frozen=True, slots=True)
class Missed:
    """Changes after the term *token* are not known any more: what is true now follows."""

    token: int


#: What is remembered.
TermChange: TypeAlias = Elected | Vacant | Paused | Unpaused
#: What observers are told.
ElectionEvent: TypeAlias = TermChange | Missed | Suspended | Resumed


# -- what is stored ----------------------------------------------------------------


class _Entry(NamedTuple):
    """One entry of the history."""

    id: str
    what: str
    term: int
    at: float
    identity: str
    why: str
    priority: int
    meta: Mapping[str, Any]


class Seen(NamedTuple):
    """What the server answered to one look."""

    state: str
    #: by the server's clock, in seconds
    now: float
    #: seconds until the lease, or the pause, ends; less than 0: not by itself
    left: float
    why: str
    by: str
    #: the request by which it is paused
    pause: str
    leader: Leader | None
    #: whether the change that was seen last is still in the history
    known: bool
    changes: list[_Entry]
    candidates: tuple[Candidate, ...]


def seen(name: str, value: Sequence[Any]) -> Seen:
    """Read an answer of `election_look`."""
    try:
        return _seen(value)
    except (ValueError, KeyError, IndexError) as exc:
        raise KeyConflict(
            f"what is kept of the election {name!r} is not ours: {exc}"
        ) from None


def _seen(value: Sequence[Any]) -> Seen:
    state, left = text(value[0]), number(value[2]) / 1000
    why, by, pause, rid, token, *record = map(text, value[3:12])
    since, identity, meta, priority = record
    leader = None
    if state == "led":
        leader = Leader(
            identity,
            int(token),
            int(since) / 1000,
            read_meta(meta),
            int(priority or 0),
            rid,
            max(0.0, left),
        )
    return Seen(
        state,
        number(value[1]) / 1000,
        left,
        why,
        by,
        pause,
        leader,
        bool(number(value[12])),
        [_entry(entry) for entry in value[13]],
        tuple(_candidates(value[14])),
    )


def _entry(entry: Sequence[Any]) -> _Entry:
    words = list(map(text, entry[1]))
    fields = dict(zip(words[::2], words[1::2], strict=True))
    return _Entry(
        text(entry[0]),
        fields["what"],
        int(fields["term"]),
        int(fields["at"]) / 1000,
        fields["identity"],
        fields["why"],
        int(fields.get("priority", 0)),
        read_meta(fields.get("meta", "{}")),
    )


def _candidates(pairs: Sequence[Any]) -> Iterator[Candidate]:
    for rid, record in zip(pairs[::2], pairs[1::2], strict=True):
        if record:  # else it has just left
            priority, identity, meta = text(record).split("\n", 2)
            number_of = int(priority.removeprefix("p"))
            yield Candidate(identity, number_of, read_meta(meta), text(rid))


# -- how the one becomes the other -------------------------------------------------


class Telling:
    """
    Tells the changes that one look after another shows, each once and in order.

    Nothing runs at the instant at which a lease runs out: that a term was lost is seen
    by the next look, or by the next election.
    """

    def __init__(self) -> None:
        #: the last change that was told, '-': none
        self.since = "-"
        #: when to look again, in seconds from the last look
        self.left = -1.0
        #: who led when it was looked last, and who leads as far as it is told
        self._present: Leader | None = None
        self._leads: Leader | None = None
        self._ended: Vacant | None = None
        self._term = 0
        self._paused = False
        self._first = True

    def news(self, seen: Seen) -> Iterator[ElectionEvent]:
        """Yield what is new."""
        changes, self._present = seen.changes, seen.leader
        if not seen.known:
            yield Missed(self._term)
            changes = [entry for entry in changes if entry.term > self._term]
        told = [change for entry in changes for change in self._of(entry)]
        if not self._first:
            yield from told
        elif seen.leader is not None:
            self._leads = None  # told first of all, and nothing before it
        yield from self._now(seen)
        last = seen.changes[-1].id if seen.changes else None
        self.since = last or (self.since if seen.known else "-")
        self.left, self._first = seen.left, False

    def past(self, seen: Seen) -> list[TermChange]:
        """Return all that is remembered, the oldest first."""
        told = [change for entry in seen.changes for change in self._of(entry)]
        if seen.leader is None:
            told += self._lost(seen.now)
        return told

    def _of(self, entry: _Entry) -> Iterator[TermChange]:
        """Yield what an entry of the history says."""
        match entry.what:
            case "elected":
                yield from self._lost(entry.at)
                yield from self._leading(self._leader(entry))
            case "resigned":
                if self._ended is None or entry.term > self._ended.token:
                    yield self._end(entry.identity, entry.term, entry.at, entry.why)
            case "paused":
                self._paused = True
                yield Paused(entry.identity, entry.at, entry.why)
            case "resumed":
                self._paused = False
                yield Unpaused(entry.identity, entry.at)
            case _:
                pass  # of a later version

    def _now(self, seen: Seen) -> Iterator[TermChange]:
        """Yield what is true now, and no entry has told."""
        leader, paused = seen.leader, bool(seen.by)
        if leader is None and self._leads is None and self._first:
            yield self._ended or Vacant("", 0, seen.now, "")
        elif leader is None:
            yield from self._lost(seen.now)
        elif self._leads is None or self._leads.token != leader.token:
            yield from self._lost(leader.since)
            yield from self._leading(leader)
        if paused and (self._first or not self._paused):
            yield Paused(seen.by, seen.now, seen.why)
        elif self._paused and not paused and not self._first:
            yield Unpaused("", seen.now)
        self._paused = paused

    def _leader(self, entry: _Entry) -> Leader:
        """Return who was elected, as it is now if it leads still."""
        if self._present is not None and self._present.token == entry.term:
            return self._present
        return Leader(entry.identity, entry.term, entry.at, entry.meta, entry.priority)

    def _leading(self, leader: Leader) -> Iterator[TermChange]:
        self._leads, self._term = leader, max(self._term, leader.token)
        yield Elected(leader)

    def _lost(self, at: float) -> Iterator[TermChange]:
        """Yield that who led has lost it, if nobody told of its end."""
        if self._leads is not None:
            yield self._end(self._leads.identity, self._leads.token, at, how="lost")

    def _end(
        self, identity: str, term: int, at: float, why: str = "", how: str = "resigned"
    ) -> Vacant:
        self._leads, self._term = None, max(self._term, term)
        self._ended = Vacant(identity, term, at, how, why)
        return self._ended


def info_of(name: str, seen: Seen) -> ElectionInfo:
    """Return what one look has shown."""
    return ElectionInfo(
        name, seen.state, seen.leader, seen.candidates, seen.by, seen.why
    )
