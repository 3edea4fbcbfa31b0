"""
Picking a live member of a group: who may be picked, and what is made of reports.

Members that are draining, and those that the caller excludes, are not picked.  Those
that are suspect, or were ejected for their failures, are picked only if there is nobody
else: that all fail says more of what they have in common than of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias, get_args

from xxhash import xxh64_intdigest

from ..errors import NoMember
from .ejection import Ejection, ejection
from .group_local import Known, LocalGroup
from .keys import check_name
from .members import MemberInfo, amount
from .ring_load import check_c
from .ring_slot import key_bytes
from .strategies import (
    Affinity,
    AtRandom,
    Draw,
    InTurn,
    LeastLoaded,
    Loads,
    Smooth,
    Table,
    TwoChoices,
)

Strategy: TypeAlias = Literal[
    "random", "round_robin", "weighted", "least_loaded", "two_choices", "ring"
]
Outcome: TypeAlias = Literal["ok", "failed"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: These go by load.
COUNTING = frozenset({"least_loaded", "two_choices", "ring"})

MOST_COST = 1e15
LEAST_SUSPICION, MOST_SUSPICION = 0.01, 1e6
#: Tables for so many sets of excluded members are kept.
MOST_TABLES = 16
NOBODY: frozenset[str] = frozenset()
NOTHING = Known({}, -1)


@dataclass(frozen=True, slots=True)
class Rules:
    """How members are picked, and whose failures count for how much."""

    strategy: str
    cost: float
    c: float
    max_suspicion: float
    max_failures: int
    ejection: float | timedelta
    max_ejected: float

    def health(self) -> Ejection:
        """Return that of members of whom nothing is known."""
        return ejection(self.max_failures, self.ejection, self.max_ejected)


def rules(
    strategy: str,
    cost: float,
    c: float,
    max_suspicion: float | None,
    max_failures: int,
    ejected_for: float | timedelta,
    max_ejected: float,
) -> Rules:
    """Check the options of a balancer."""
    if strategy not in STRATEGIES:
        known = ", ".join(map(repr, STRATEGIES))
        raise ValueError(f"strategy={strategy!r} is none of {known}")
    limit = math.inf
    if max_suspicion is not None:
        least, most = LEAST_SUSPICION, MOST_SUSPICION
        limit = amount(max_suspicion, "max_suspicion", least, most)
    made = Rules(
        strategy,
        amount(cost, "cost", 0.0, MOST_COST),
        check_c(c),
        limit,
        max_failures,
        ejected_for,
        max_ejected,
    )
    made.health()
    return made


def without(exclude: Iterable[str | MemberInfo]) -> frozenset[str]:
    """Return the identities that are excluded."""
    if isinstance(exclude, str | MemberInfo):
        raise TypeError(f"exclude is several members, not one: {exclude!r:.80}")
    return frozenset(
        each.identity
        if isinstance(each, MemberInfo)
        else check_name(each, "excluded identity")
        for each in exclude
    )


class Balance:
    """What one balancer knows: whom it may pick, their loads and their failures."""

    def __init__(self, local: LocalGroup, rules: Rules, draw: Draw) -> None:
        self._local = local
        self._rules = rules
        self._draw = draw
        self._loads = Loads(rules.cost)
        self._health = rules.health()
        self._known = NOTHING
        #: suspect or ejected, by holder
        self._doubted: set[str] = set()
        #: when somebody is ejected no longer
        self._until = math.inf
        self._tables: dict[frozenset[str], Table] = {}
        self._counting = rules.strategy in COUNTING

    @property
    def strategy(self) -> str:
        """How it picks."""
        return self._rules.strategy

    @property
    def shared(self) -> bool:
        """Whether a pick takes a turn of the sequence that all clients share."""
        return self._rules.strategy == "round_robin"

    def at(self, key: str | bytes | None) -> int:
        """Return what *key* means to a pick."""
        if self._rules.strategy == "ring":
            if key is None:
                raise TypeError("the strategy 'ring' needs a key: pick(key)")
            return xxh64_intdigest(key_bytes(key))
        if key is not None:
            raise TypeError(
                f"the strategy {self._rules.strategy!r} takes no key, given was {key!r:.80}"
            )
        return 0

    def pick(self, at: int, exclude: frozenset[str], now: float) -> MemberInfo:
        """Pick a member; `NoMember`, `StaleGroup` or what the group's answer was instead."""
        with self._local.guard:
            known = self._local.known(now)
            if known is not self._known or now >= self._until:
                self._look(known, now)
            table = self._tables.get(exclude) or self._table(known, exclude)
            holder = table.pick(at)
            if self._counting:
                self._loads.take(holder)
                self._changed(holder)
            return known.members[holder]

    def report(self, member: MemberInfo, outcome: str, now: float) -> None:
        """Take note of how a pick went; of one that is a member no more, nothing."""
        if not isinstance(member, MemberInfo):
            raise TypeError(
                f"a member is what pick() returned, not {type(member).__name__}: "
                f"{member!r:.80}"
            )
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome={outcome!r} is neither 'ok' nor 'failed'")
        holder = member.holder
        with self._local.guard:
            if holder not in self._known.members:
                return
            if self._counting:
                self._loads.done(holder)
                self._changed(holder)
            if outcome == "ok":
                self._health.succeeded(holder)
            elif self._health.failed(holder, now, len(self._known.members)):
                self._until = now  # look again before the next pick

    def ejected(self, now: float) -> tuple[str, ...]:
        """Return the identities of who is ejected."""
        with self._local.guard:
            members, found = self._known.members, self._health.ejected(now)
            return tuple(members[holder].identity for holder in found)

    def _changed(self, holder: str) -> None:
        for table in self._tables.values():
            table.changed(holder)

    def _look(self, known: Known, now: float) -> None:
        """Take in who is there; make tables anew where that makes a difference."""
        old, self._known = self._known, known
        if old is not known:
            self._loads.look(known.members)
            self._health.keep(known.members)
        ejected = self._health.ejected(now)
        self._until = min(ejected.values(), default=math.inf)
        limit = self._rules.max_suspicion
        doubted = {*ejected} | {
            holder for holder, each in known.members.items() if each.suspicion >= limit
        }
        others = old.shape != known.shape or doubted != self._doubted
        if others:
            self._loads.others()
        if others or self._counting:
            self._tables.clear()
        self._doubted = doubted

    def _table(self, known: Known, exclude: frozenset[str]) -> Table:
        candidates = [each for each in known.members.values() if not each.draining]
        left = [each for each in candidates if each.identity not in exclude]
        if not left:
            raise NoMember(self._local.name, _why(known, candidates))
        trusted = [each for each in left if each.holder not in self._doubted]
        if len(self._tables) >= MOST_TABLES:
            self._tables.clear()
        self._tables[exclude] = table = self._made(candidates, trusted or left)
        return table

    def _made(self, candidates: list[MemberInfo], members: list[MemberInfo]) -> Table:
        draw, loads = self._draw, self._loads
        match self._rules.strategy:
            case "random":
                return AtRandom(members, draw)
            case "round_robin":
                return InTurn(members)
            case "weighted":
                return Smooth(members, draw)
            case "least_loaded":
                return LeastLoaded(members, loads, draw)
            case "two_choices":
                return TwoChoices(members, loads, draw)
            case _:
                return Affinity(candidates, members, loads, self._rules.c)


def _why(known: Known, candidates: list[MemberInfo]) -> str:
    """Return why nobody is left."""
    if not known.members:
        return "it has no members"
    draining = len(known.members) - len(candidates)
    words = [f"{draining} draining"] if draining else []
    words += [f"{len(candidates)} excluded"] if candidates else []
    return f"of its {len(known.members)} members are " + ", ".join(words)
