"""The members of a group: what is stored of each, and how changes are told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, overload

from ..errors import KeyConflict
from .claim import flag, meta_text, read_meta
from .keys import check_name
from .observe import Resumed, Suspended
from .reply import number, text

ACTIVE, DRAINING = "active", "draining"
LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
MOST_LOAD = 1e15


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """
    One member of a group, as the server told it at one instant.

    *holder* is the random id of this membership, *token* rises with every join.  *since*
    is in seconds of the server's clock, *expires_in* in seconds from that instant (where
    a change tells of it: its ttl).  *state* is ``"active"`` or ``"draining"``.

    *suspicion* says how improbable so long a silence of this member is: the negative
    logarithm (base 10) of its probability, if heartbeats came at random instants as
    often as they have come of late (phi, after Hayashibara et al., *The φ accrual failure
    detector*, 2004, with the exponential distribution).  It is for dashboards and for
    choosing among members; whether one is a member, its ttl alone decides.
    """

    identity: str
    holder: str
    token: int
    since: float
    weight: float = 1.0
    capacity: float | None = None
    load: float = 0.0
    zone: str = ""
    state: str = ACTIVE
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expires_in: float = 0.0
    suspicion: float = 0.0

    @property
    def draining(self) -> bool:
        """Whether it takes on nothing new."""
        return self.state == DRAINING


@dataclass(frozen=True, slots=True)
class Members(Sequence[MemberInfo]):
    """
    All members of the group *name* at one *version*, in the order in which they joined.

    Every change raises the version by one.  Versions compare within one *birth*: a group
    that was empty for long, or whose data was lost, begins anew.
    """

    name: str
    birth: int
    version: int
    members: tuple[MemberInfo, ...]

    def get(self, identity: str) -> MemberInfo | None:
        """Return the member of that identity, or None."""
        return next((each for each in self.members if each.identity == identity), None)

    @overload
    def __getitem__(self, index: int) -> MemberInfo: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[MemberInfo, ...]: ...

    def __getitem__(self, index: int | slice) -> MemberInfo | tuple[MemberInfo, ...]:
        return self.members[index]

    def __len__(self) -> int:
        return len(self.members)


# -- what is told ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """A member has joined."""

    member: MemberInfo
    version: int


@dataclass(frozen=True, slots=True)
class Left:
    """A member has left, or another of its identity has taken its place."""

    member: MemberInfo
    version: int


@dataclass(frozen=True, slots=True)
class Died:
    """
    A member was silent for its ttl.

    *together* died at once, *of* so many members: when that is most of the group, then
    rather the server stood still, or the network, than so many processes died.
    """

    member: MemberInfo
    version: int
    together: int = 1
    of: int = 1

    @property
    def mass(self) -> bool:
        """Whether most of the group died at once, so that it had better be doubted."""
        return self.together > 1 and 2 * self.together > self.of


@dataclass(frozen=True, slots=True)
class Changed:
    """A member has reported something new; *before* is what it was."""

    member: MemberInfo
    version: int
    before: MemberInfo


#: What those who watch are told.
GroupEvent: TypeAlias = Members | Joined | Left | Died | Changed | Suspended | Resumed


# -- what is stored ----------------------------------------------------------------


class Record(NamedTuple):
    """What a member says of itself."""

    identity: str
    zone: str
    weight: float
    capacity: float | None
    state: str
    load: float
    meta: str

    def stored(self) -> str:
        """Return it as it is stored: one line each."""
        capacity = "" if self.capacity is None else repr(self.capacity)
        numbers = repr(self.weight), capacity, self.state, repr(self.load)
        return "\n".join((self.identity, self.zone, *numbers, self.meta))


class Looked(NamedTuple):
    """What the server answered to one look."""

    birth: int
    version: int
    #: seconds until the next member would die, if it stays silent; infinite: nobody
    left: float
    members: Members | None
    changes: list[tuple[int, dict[str, str]]]


def looked(name: str, value: Sequence[Any]) -> Looked:
    """Read an answer of `group_look`."""
    try:
        return _looked(name, value)
    except (ValueError, KeyError, IndexError) as exc:
        raise KeyConflict(
            f"what is kept of the group {name!r} is not ours: {exc}"
        ) from None


def _looked(name: str, value: Sequence[Any]) -> Looked:
    birth, version, now, next_ms = map(number, value[1:5])
    left = next_ms / 1000 if next_ms >= 0 else math.inf
    if text(value[0]) == "changes":
        changes = [_change(entry) for entry in value[5]]
        return Looked(birth, version, left, None, changes)
    words = list(map(text, value[5]))
    fields = dict(zip(words[::2], words[1::2], strict=True))
    found: list[MemberInfo] = []
    for rid, score in zip(value[6][::2], value[6][1::2], strict=True):
        holder, left_ms = text(rid), float(score) - now
        if holder in fields:  # else it was evicted, and joins again
            pace = int(fields.get(f"pace:{holder}", "0"))
            found.append(_member(holder, fields[holder], left_ms, pace))
    found.sort(key=lambda member: member.token)
    return Looked(birth, version, left, Members(name, birth, version, tuple(found)), [])


def _change(entry: Sequence[Any]) -> tuple[int, dict[str, str]]:
    words = list(map(text, entry[1]))
    version = int(text(entry[0]).partition("-")[0])
    return version, dict(zip(words[::2], words[1::2], strict=True))


def _member(
    holder: str, stored: str, left_ms: float | None = None, pace_ms: int = 0
) -> MemberInfo:
    """Return what is stored of a member, *left_ms* before it would die."""
    token, since, ttl, _, *record = stored.split("\n", 10)
    identity, zone, weight, capacity, state, load, meta = record
    left = float(ttl) if left_ms is None else left_ms
    return MemberInfo(
        identity=identity,
        holder=holder,
        token=int(token),
        since=int(since) / 1000,
        weight=float(weight),
        capacity=float(capacity) if capacity else None,
        load=float(load),
        zone=zone,
        state=state,
        meta=read_meta(meta),
        expires_in=max(0.0, left / 1000),
        suspicion=suspicion(int(ttl) - left, pace_ms),
    )


def suspicion(silence: float, pace: float) -> float:
    """
    Return phi of a *silence*, where heartbeats came every *pace* on the mean.

    −log10 of exp(−silence/pace), the probability that so long a silence is chance.
    """
    return max(0.0, silence) / (pace * math.log(10)) if pace > 0 else 0.0


# -- how the one becomes the other -------------------------------------------------


class Watching:
    """
    Tells who is a member, then every change, each once and in order of version.

    When changes cannot be told one by one, as after a long silence or when the group was
    born anew, who is a member comes again.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._members: dict[str, MemberInfo] = {}
        self.birth: int | None = None
        self.version = 0
        #: in how many seconds somebody may die
        self.left = math.inf

    def members(self) -> list[MemberInfo]:
        """Return who is a member, as far as was told."""
        return list(self._members.values())

    def news(self, found: Looked) -> Iterator[GroupEvent]:
        """Yield what is new."""
        first, self.birth = self.birth is None, found.birth
        self.left, self.version = found.left, found.version
        if found.members is not None:
            empty = not self._members and not found.members
            self._members = {each.holder: each for each in found.members}
            if first or not empty:
                yield found.members
        for version, fields in found.changes:
            yield self._told(version, fields)

    def _told(self, version: int, fields: Mapping[str, str]) -> GroupEvent:
        """Return what an entry of the log says; take note of it."""
        try:
            what, rid = fields["what"], fields["rid"]
            if what == "joined":
                self._members[rid] = _member(rid, fields["record"])
                return Joined(self._members[rid], version)
            if what == "changed":
                before = self._members[rid]
                self._members[rid] = _member(rid, fields["record"])
                return Changed(self._members[rid], version, before)
            gone = self._members.pop(rid)
            if what == "left":
                return Left(gone, version)
            together, of = int(fields.get("together", 1)), int(fields.get("of", 1))
            return Died(gone, version, together, of)
        except (ValueError, KeyError) as exc:
            raise KeyConflict(
                f"what is kept of the group {self._name!r} is not ours: {exc}"
            ) from None


# -- what may be given ---------------------------------------------------------------


def a_record(
    identity: str,
    meta: Mapping[str, Any] | None = None,
    weight: float = 1.0,
    capacity: float | None = None,
    load: float = 0.0,
    zone: str = "",
) -> Record:
    """Check what a member says of itself."""
    return Record(
        check_name(identity, "identity"),
        check_name(zone, "zone") if zone != "" else "",
        amount(weight, "weight", LEAST_WEIGHT, MOST_WEIGHT),
        None
        if capacity is None
        else amount(capacity, "capacity", LEAST_WEIGHT, MOST_LOAD),
        ACTIVE,
        amount(load, "load", 0.0, MOST_LOAD),
        meta_text(meta),
    )


def changed(
    record: Record,
    load: float | None = None,
    weight: float | None = None,
    capacity: float | None = None,
    meta: Mapping[str, Any] | None = None,
    *,
    draining: bool | None = None,
) -> Record:
    """Return *record* with what is given in place of what was; None changes nothing."""
    if load is not None:
        record = record._replace(load=amount(load, "load", 0.0, MOST_LOAD))
    if weight is not None:
        weight = amount(weight, "weight", LEAST_WEIGHT, MOST_WEIGHT)
        record = record._replace(weight=weight)
    if capacity is not None:
        capacity = amount(capacity, "capacity", LEAST_WEIGHT, MOST_LOAD)
        record = record._replace(capacity=capacity)
    if meta is not None:
        record = record._replace(meta=meta_text(meta))
    if draining is not None:
        state = DRAINING if flag(draining, "draining") else ACTIVE
        record = record._replace(state=state)
    return record


def amount(value: float, what: str, least: float, most: float) -> float:
    """Return *value* as a float, if it is a number between *least* and *most*."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number, not {type(value).__name__}: {value!r}")
    if not least <= value <= most:  # false for NaN too
        raise ValueError(f"{what}={value!r} is not between {least:g} and {most:g}")
    return float(value)
