"""
Histories of real processes: recording them, and deciding from them.

Every process appends what it did to a file, stamped by one clock of the machine, in
lines that outlive a SIGKILL.  The checkers are pure functions of the events; each
raises `AssertionError` with an excerpt of the history, also when the history holds
nothing that could have failed.

A history shows what processes believed and did.  It can show a violation; that there
is none in it proves nothing about the histories that were not run.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    """Return seconds on the clock of the histories, the one that leases count on."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


@dataclass(frozen=True)
class Event:
    """One thing that *process* did or heard, at the instant *at*."""

    at: float
    what: str
    process: str
    name: str = ""
    holder: str = ""
    token: int | None = None
    deadline: float | None = None
    seq: int | None = None
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        said = {k: getattr(self, k) for k in ("token", "deadline", "seq")} | self.more
        fields = " ".join(f"{k}={v}" for k, v in said.items() if v is not None)
        who = f"{self.process}/{self.holder}"
        return f"{self.at:.6f} {self.what:8} {self.name} {who} {fields}".rstrip()


class Recorder:
    """
    Appends the events of one *process* to the file at *path*.

    Several recorders, of several processes, may share a file.  *holder* is any word
    that tells the takers of a name apart, such as the thread; one of them must not
    ask for a name again before the answer.
    """

    def __init__(self, path: Path | str, process: str) -> None:
        self._process = process
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(self, what: str, name: str = "", **fields: Any) -> None:
        """Append one event; what is no field of `Event` goes into its `more`."""
        known = {k: fields.pop(k) for k in _FIELDS & fields.keys()}
        at = known.pop("at", None) or now()
        event = Event(at, what, self._process, name, more=fields, **known)
        line = json.dumps({k: v for k, v in asdict(event).items() if v or v == 0})
        # One write a line: with O_APPEND it is there whole, whatever happens next.
        os.write(self._file, line.encode() + b"\n")

    def asked(self, name: str, holder: str, **more: Any) -> None:
        """Record, before the question, that *holder* begins to acquire *name*."""
        self.record("asked", name, holder=holder, **more)

    def granted(
        self, name: str, holder: str, token: int, deadline: float, **more: Any
    ) -> None:
        """Record, after the answer, that it holds the name until *deadline*."""
        grant = {"holder": holder, "token": token, "deadline": deadline}
        self.record("granted", name, **grant, **more)

    def renewed(
        self, name: str, holder: str, token: int, deadline: float, **more: Any
    ) -> None:
        """Record, after the answer, that it may count on a later *deadline*."""
        renewal = {"holder": holder, "token": token, "deadline": deadline}
        self.record("renewed", name, **renewal, **more)

    def released(self, name: str, holder: str, token: int, **more: Any) -> None:
        """Record, just *before* the release is sent, that it acts no more."""
        self.record("released", name, holder=holder, token=token, **more)

    def lost(self, name: str, holder: str, token: int, **more: Any) -> None:
        """Record that it was told of the loss, and acts no more."""
        self.record("lost", name, holder=holder, token=token, **more)

    def gave_up(self, name: str, holder: str, **more: Any) -> None:
        """Record that it waits no longer."""
        self.record("gave_up", name, holder=holder, **more)

    def wrote(self, name: str, token: int, seq: int, **more: Any) -> None:
        """Record a write that the resource *name* took, as its *seq*-th."""
        self.record("wrote", name, token=token, seq=seq, **more)

    def refused(self, name: str, token: int, **more: Any) -> None:
        """Record a write that the resource refused, because the token was stale."""
        self.record("refused", name, token=token, **more)

    def killed(self, process: str) -> None:
        """Record that *process* waits no more; its killer records it, afterwards."""
        self.record("killed", victim=process)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_FIELDS = frozenset(Event.__dataclass_fields__) - {"what", "process", "name", "more"}


def read(paths: Iterable[Path | str]) -> list[Event]:
    """Return the events of all files in the order of time."""
    events: list[Event] = []
    for path in paths:
        whole, newline, _ = Path(path).read_bytes().rpartition(b"\n")
        if newline:  # what follows the last newline was never finished
            events += [Event(**json.loads(line)) for line in whole.split(b"\n")]
    return sorted(events, key=lambda event: event.at)


def summary(events: Iterable[Event]) -> dict[str, int]:
    """Count the events of each kind."""
    return dict(Counter(event.what for event in events))


# -- checkers --------------------------------------------------------------------------


class _Claim(NamedTuple):
    """A stretch of time in which a holder believed that it holds."""

    start: float
    end: float
    event: Event


def no_overlap(events: Iterable[Event]) -> None:
    """
    Check that no two holders of a name believed to hold it at the same instant.

    A belief lasts from the answer (grant or renewal) to the deadline that it gave,
    or to the release or the loss, whichever is first.  That of a killed process lasts
    to its deadline.
    """
    history = _ordered(events)
    for claims in _claims(history).values():
        open_claims: list[_Claim] = []
        for claim in sorted(claims, key=lambda claim: claim.start):
            open_claims = [other for other in open_claims if other.end > claim.start]
            for other in open_claims:
                if _who(other.event) != _who(claim.event):
                    both = min(other.end, claim.end) - claim.start
                    why = f"two holders at once, for {both * 1000:.3f} ms"
                    raise _violation(why, history, other.event, claim.event)
            open_claims.append(claim)


def tokens_rise(events: Iterable[Event]) -> None:
    """
    Check that the tokens of a name are unique and rise in real time.

    A grant that was asked for after another one was heard has the larger token.
    Between grants that were under way at the same time any order is right.
    """
    history = _ordered(events)
    asked_at = _asked_at(history)
    for grants in _by_name(_some(history, "granted")).values():
        heard = [grant.at for grant in grants]
        highest = list(itertools.accumulate(grants, _larger_token))
        first_with: dict[int, Event] = {}
        for grant in grants:
            same = first_with.setdefault(_token(grant), grant)
            if same is not grant:
                raise _violation("the same token twice", history, same, grant)
            earlier = bisect.bisect_left(heard, asked_at(grant))
            if earlier and _token(highest[earlier - 1]) > _token(grant):
                raise _violation(
                    "a later grant has a smaller token",
                    history,
                    highest[earlier - 1],
                    grant,
                )


def fenced_writes_in_order(
    events: Iterable[Event], *, some_refused: bool = True
) -> None:
    """
    Check that each resource took its writes in the order of their tokens.

    The order is the resource's own: the number `seq` that it gave each write.  Unless
    not *some_refused*, a history in which no stale write was refused fails, too: it
    shows nothing about fencing.
    """
    history = _ordered(events)
    for writes in _by_name(_some(history, "wrote")).values():
        in_sequence = sorted(writes, key=lambda event: event.seq or 0)
        for one, two in itertools.pairwise(in_sequence):
            if one.seq == two.seq:
                raise _violation("one number for two writes", history, one, two)
            if _token(one) > _token(two):
                raise _violation("a stale write was taken", history, one, two)
    if some_refused:
        _some(history, "refused")


def progress(
    events: Iterable[Event], within: float, *, longest_wait: float | None = None
) -> None:
    """
    Check that the waiters of a name are served.

    While somebody waits for a name, no *within* seconds pass without a grant of it,
    to whomever.  With *longest_wait*, nobody waits longer than that for his own grant,
    whether it comes or not.  A wait ends with the grant, with giving up, with the
    death of the process (`Recorder.killed`) or with the history.
    """
    history = _ordered(events)
    grants: dict[str, list[float]] = defaultdict(list)
    for event in history:
        if event.what == "granted":
            grants[event.name].append(event.at)
    for ask, end in _waits(history):
        of_name = grants[ask.name]
        first, last = (bisect.bisect(of_name, at) for at in (ask.at, end.at))
        times = [ask.at, *of_name[first:last], end.at]
        for start, stop in itertools.pairwise(times):
            if stop - start > within:
                why = f"nothing was granted for {stop - start:.3f} s"
                raise _violation(why, history, ask, end)
        if longest_wait is not None and end.at - ask.at > longest_wait:
            why = f"somebody waited for {end.at - ask.at:.3f} s"
            raise _violation(why, history, ask, end)


def _claims(history: Sequence[Event]) -> dict[str, list[_Claim]]:
    """Return by name the claims that grants and renewals opened."""
    ends: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for event in history:
        if event.what in ("released", "lost"):
            ends[_lease(event)].append(event.at)
    claims: dict[str, list[_Claim]] = defaultdict(list)
    _some(history, "granted")
    for event in history:
        if event.what in ("granted", "renewed"):
            assert event.deadline is not None, f"without a deadline: {event}"
            later = (at for at in ends[_lease(event)] if at >= event.at)
            end = min(event.deadline, next(later, event.deadline))
            if end > event.at:  # else the answer came too late to be believed
                claims[event.name].append(_Claim(event.at, end, event))
    return claims


def _waits(history: Sequence[Event]) -> Iterator[tuple[Event, Event]]:
    """Pair each question with what ended the wait for its answer."""
    waiting: dict[tuple[str, ...], Event] = {}
    _some(history, "asked")
    for event in history:
        if event.what == "asked":
            if _taker(event) in waiting:  # the answer was neither yes nor no
                yield waiting[_taker(event)], event
            waiting[_taker(event)] = event
        elif event.what in ("granted", "gave_up") and _taker(event) in waiting:
            yield waiting.pop(_taker(event)), event
        elif event.what == "killed":
            for taker in [t for t in waiting if t[0] == event.more["victim"]]:
                yield waiting.pop(taker), event
    for ask in waiting.values():
        yield ask, history[-1]


def _asked_at(history: Sequence[Event]) -> Callable[[Event], float]:
    """Return a function that tells when a grant was asked for."""
    questions = {
        id(end): ask.at for ask, end in _waits(history) if end.what == "granted"
    }

    def asked_at(grant: Event) -> float:
        assert id(grant) in questions, f"granted without being asked: {grant}"
        return questions[id(grant)]

    return asked_at


def _larger_token(one: Event, two: Event) -> Event:
    return one if _token(one) > _token(two) else two


def _token(event: Event) -> int:
    assert event.token is not None, f"without a token: {event}"
    return event.token


def _who(event: Event) -> tuple[str, str]:
    return event.process, event.holder


def _taker(event: Event) -> tuple[str, str, str]:
    return event.process, event.holder, event.name


def _lease(event: Event) -> tuple[str, str, str, int | None]:
    return (*_taker(event), event.token)


def _ordered(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.at)


def _by_name(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.name].append(event)
    return found


def _some(history: Sequence[Event], what: str) -> list[Event]:
    """Return the events of one kind; fail if there are none: nothing would be shown."""
    found = [event for event in history if event.what == what]
    assert found, f"the history proves nothing: nothing was {what}: {summary(history)}"
    return found


def _violation(why: str, history: Sequence[Event], *culprits: Event) -> AssertionError:
    """Make the error: the culprits, marked, among their neighbours of the same name."""
    name = culprits[0].name
    related = [event for event in history if event.name == name or event in culprits]
    places = [related.index(culprit) for culprit in culprits]
    near = {i for place in places for i in range(place - 3, place + 4)}
    lines = [
        f"{'>>' if i in places else '  '} {event}"
        for i, event in enumerate(related)
        if i in near
    ]
    return AssertionError(f"{why}: {name!r}\n" + "\n".join(lines))
