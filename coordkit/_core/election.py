"""
The election, as operations: a lock whose holder is public.

Who leads holds the lock of the election, and its token is the term; candidates are the
lock's waiters, who come by priority first and by arrival second.  The lock's scripts
take and give back the leadership, and its keeper renews it: there is no second
protocol.  What an election adds is told by those scripts as they run: every term that
begins, and every one that is given up, is an entry of its history, and is published.

A leader relies on its term for less than the server keeps it: what lies between is the
time in which its work can end before anybody else may begin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from ..errors import (
    CoordError,
    KeyConflict,
    NoCandidate,
    NoLeader,
    NotHeld,
    Unreachable,
)
from .asking import ask, insist
from .claim import LONGEST_WAITER_TTL, Claim, flag, meta_text
from .inspect import listed
from .keys import (
    LockKeys,
    check_name,
    election_keys,
    history_key,
    index_keys,
    news_channel,
    wake_prefix,
)
from .observe import Subject
from .ops import Call, Op, Pipeline
from .reply import text
from .span import call_timeout, milliseconds, seconds, ttl_seconds
from .terms import (
    ElectionEvent,
    ElectionInfo,
    Leader,
    Seen,
    Telling,
    TermChange,
    info_of,
    seen,
)

#: How far a renewal may be put off, so that those of many leaders do not come at once.
JITTER = 1.1
#: Of what a ttl is used, where nothing else is said: to renew, and to rely on.
RENEWED, RELIED = 1 / 3, 2 / 3
#: Priorities are so far from 0 at most: each is a year's head start, and a score is exact.
MOST_PRIORITY = 100
#: So often a transfer asks anew, when another leader was elected meanwhile.
TRIES = 3
#: So many time-outs after it was asked for, a pause is given up, and not wanted any more.
LATEST = 2


@dataclass(frozen=True, slots=True)
class Times:
    """The checked times of one election, in seconds."""

    ttl: float
    renew_deadline: float
    renew_every: float
    handover_delay: float
    max_term: float | None
    waiter_ttl: float

    def shown(self) -> str:
        """Return what a reader of a `repr` wants to see."""
        most = "" if self.max_term is None else f" max_term={self.max_term:g}"
        return f"ttl={self.ttl:g} renew_deadline={self.renew_deadline:g}{most}"


class Standing(NamedTuple):
    """How somebody stands for election."""

    priority: int
    meta: str
    preempt: bool


@dataclass(frozen=True, slots=True)
class Office:
    """What one election is about: its name, its keys, and how long a question may take."""

    namespace: str
    name: str
    keys: LockKeys
    history: str
    channel: str
    timeout: float

    @property
    def entry(self) -> str:
        """Its name in the index, for as long as its history is kept."""
        return f"election:{self.name}"

    def claim(self, times: Times, identity: str, standing: Standing) -> Claim:
        """Return what a campaign of *identity* asks for."""
        k, wake = self.keys, wake_prefix(self.namespace)
        keys = (k.lock, k.queue, k.alive, k.waiters, k.holders, k.fence, k.index)
        member, ttl = f"leader:{self.name}", times.ttl
        lasts, delay = milliseconds(ttl), milliseconds(times.handover_delay)
        return Claim(
            name=self.name,
            keys=k,
            member=member,
            identity=identity,
            ttl=ttl,
            first_ttl=ttl,
            handed_ttl=min(ttl, times.waiter_ttl),
            waiter_ttl=times.waiter_ttl,
            limit=None,
            max_hold=None,
            lock_delay=times.handover_delay,
            call_timeout=call_timeout(ttl, self.timeout),
            patience=ttl,
            acquire_keys=keys,
            acquire_args=(
                *(lasts, delay, 1, identity, standing.meta, member),
                *(standing.priority, int(standing.preempt), self.entry, self.channel),
            ),
            release_keys=keys,
            release_args=(0, member, wake, self.channel),
            kind="lock",
            mode="x",
            history=(self.history,),
            belief=times.renew_deadline / ttl,
            pace=times.renew_every / ttl,
            max_term=times.max_term,
        )

    # -- what anybody may ask ----------------------------------------------------------

    def info(self) -> Op[ElectionInfo]:
        """Return who leads and who would."""
        found = yield from self._look(candidates=True)
        return info_of(self.name, found)

    def leader(self) -> Op[Leader | None]:
        """Return who leads, or None."""
        found = yield from self._look()
        return found.leader

    def past(self) -> Op[list[TermChange]]:
        """Return what is remembered of its terms, the oldest first."""
        found = yield from self._look("-")
        return Telling().past(found)

    def namesake(self, identity: str | None, session: str) -> Op[bool]:
        """Whether another *session* leads or waits under our *identity*; None is unique."""
        if identity is None:
            return False
        try:
            found = yield from self._look(candidates=True)
        except Unreachable:
            return False  # who cannot be asked will hear so when it campaigns
        known = [(each.identity, each.holder) for each in found.candidates]
        if found.leader is not None:
            known.append((found.leader.identity, found.leader.holder))
        return any(who == identity and rid[:16] != session for who, rid in known)

    def subject(self) -> Subject:
        """Return what is observed: first what is true, then every change."""
        telling = Telling()

        def read(value: Any) -> Iterable[ElectionEvent]:
            return telling.news(seen(self.name, value))

        def nap() -> float:
            return telling.left if telling.left >= 0 else math.inf

        return Subject(self.channel, lambda: self._look_call(telling.since), read, nap)

    # -- what an operator asks ---------------------------------------------------------

    def revoke(self, why: str, identity: str | None) -> Op[Leader | None]:
        """Ask the leader, or *identity* if it leads, to resign; return who that is."""
        asked = reason_text(why) or "asked to resign"
        if identity is not None:
            check_name(identity, "identity")
        leader = yield from self.leader()
        if identity is not None and (leader is None or leader.identity != identity):
            who = "nobody does" if leader is None else f"{leader.identity!r} does"
            raise NotHeld(self.name, f"{identity!r} does not lead; {who}")
        if leader is None:
            return None
        k, args = self.keys, (leader.holder, asked)
        keys = (k.lock, k.holders, k.records)
        reply = yield from insist(Call("lock_revoke", keys, args, self.timeout))
        return leader if text(reply.value[0]) == "asked" else None

    def transfer(self, heir: str, by: str, why: str) -> Op[Leader]:
        """Ask the leader to resign in favour of *heir*; return who was asked."""
        check_name(heir, "identity")
        asked = reason_text(why) or f"transferred to {heir} by {by}"
        k = self.keys
        keys = (k.lock, k.queue, k.alive, k.waiters)
        for _ in range(TRIES):
            found = yield from self._look(candidates=True)
            leader = found.leader
            if leader is None:
                raise NoLeader(f"nobody leads {self.name!r} who could hand it over")
            if leader.identity == heir:
                return leader
            args = (leader.holder, heir, asked)
            call = Call("election_transfer", keys, args, self.timeout)
            reply = yield from insist(call)
            word = text(reply.value[0])
            if word == "asked":
                return leader
            if word != "not held":
                raise self._not_to(heir, word, found)
        raise NoLeader(f"the leaders of {self.name!r} change too fast: ask again")

    def pause(
        self, rid: str, by: str, lasting: float | None, why: str
    ) -> Op[Leader | None]:
        """Have nobody lead, for *lasting* seconds or until resumed; return who did."""
        limit = 0 if lasting is None else milliseconds(lasting)
        told = (by, reason_text(why), self.entry, self.channel)
        found = yield from self._look()
        # What was given up must not arrive after it was resumed: then nobody would lead.
        late = milliseconds(found.now + LATEST * self.timeout)
        k = self.keys
        keys = (k.lock, self.history, k.index, k.tomb + rid)
        call = Call("election_pause", keys, (rid, late, limit, *told), self.timeout)
        word = text((yield from insist(call)).value[0])
        if word == "late":
            raise Unreachable(
                f"the server did not answer in time: {self.name!r} goes on"
            )
        return (yield from self.leader()) if word == "asked" else None

    def resume(self, by: str) -> Op[None]:
        """Let somebody lead again."""
        found = yield from self._look()
        if not found.pause:
            return
        args = (found.pause, by, wake_prefix(self.namespace), self.channel)
        keys = (self.keys.lock, self.history, self.keys.queue)
        yield from insist(Call("election_resume", keys, args, self.timeout))

    # -- how ---------------------------------------------------------------------------

    def _look(self, since: str = "+", *, candidates: bool = False) -> Op[Seen]:
        reply = yield from ask(self._look_call(since, candidates=candidates))
        return seen(self.name, reply.value)

    def _look_call(self, since: str = "+", *, candidates: bool = False) -> Call:
        k, args = self.keys, (since, int(candidates))
        keys = (k.lock, self.history, k.queue, k.alive, k.waiters)
        return Call("election_look", keys, args, self.timeout)

    def _not_to(self, heir: str, word: str, found: Seen) -> NoCandidate:
        if word == "several":
            return NoCandidate(self.name, heir, "several candidates are called so")
        names = ", ".join(repr(each.identity) for each in found.candidates)
        why = f"the candidates are {names}" if names else "there is no candidate"
        return NoCandidate(self.name, heir, why)


def office(namespace: str, name: str, timeout: float) -> Office:
    """Return the election *name*."""
    return Office(
        namespace,
        check_name(name),
        election_keys(namespace, name),
        history_key(namespace, name),
        news_channel(namespace, "leader", name),
        timeout,
    )


def listing(namespace: str, timeout: float) -> Op[list[ElectionInfo]]:
    """Return every election of *namespace* that is remembered, by name.  No SCAN."""
    names = yield from listed(index_keys(namespace), "election:", timeout)
    if not names:
        return []
    offices = [office(namespace, name, timeout) for name in names]
    calls = tuple(each._look_call(candidates=True) for each in offices)
    reply = yield from ask(Pipeline(calls, timeout))
    found: list[ElectionInfo] = []
    for name, value in zip(names, reply.value, strict=True):
        if not isinstance(value, CoordError):
            found.append(info_of(name, seen(name, value)))
        elif not isinstance(value, KeyConflict):
            raise value
    return found


# -- what may be given ---------------------------------------------------------------


def standing(
    priority: int, meta: Mapping[str, Any] | None, *, preempt: bool
) -> Standing:
    """Check the options of one campaign."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(
            f"a priority is an int, not {type(priority).__name__}: {priority!r}"
        )
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        raise ValueError(
            f"priority={priority} is not between -{MOST_PRIORITY} and {MOST_PRIORITY}"
        )
    return Standing(priority, meta_text(meta), flag(preempt, "preempt"))


def election_times(
    ttl: float | timedelta,
    renew_deadline: float | timedelta | None,
    renew_every: float | timedelta | None,
    handover_delay: float | timedelta,
    max_term: float | timedelta | None,
    waiter_ttl: float | timedelta,
) -> Times:
    """Check the times of an election, against each other too."""
    lasts = ttl_seconds(ttl)
    relied, every = lasts * RELIED, None
    if renew_deadline is not None:
        relied = seconds(renew_deadline, "renew_deadline", least=0.01)
    if renew_every is not None:
        every = seconds(renew_every, "renew_every", least=0.01)
    every = every or min(lasts * RENEWED, relied / 2)
    if relied >= lasts:
        raise ValueError(
            f"renew_deadline={relied:g} s must be less than ttl={lasts:g} s: who could "
            "not renew for so long stops before another may begin"
        )
    if relied <= every * JITTER:
        raise ValueError(
            f"renew_every={every:g} s, which may become {every * JITTER:g} s, must be "
            f"less than renew_deadline={relied:g} s"
        )
    most = None
    if max_term is not None:
        most = seconds(max_term, "max_term", least=0.05)
        if most < lasts:
            raise ValueError(
                f"max_term={most:g} s must not be less than ttl={lasts:g} s"
            )
    return Times(
        lasts,
        relied,
        every,
        seconds(handover_delay, "handover_delay"),
        most,
        seconds(waiter_ttl, "waiter_ttl", least=0.1, most=LONGEST_WAITER_TTL),
    )


def pause_seconds(lasting: float | timedelta | None) -> float | None:
    """Return how long a pause is to last; None is: until it is resumed."""
    return None if lasting is None else seconds(lasting, "lasting", least=0.01)


def reason_text(why: str) -> str:
    """Return *why* if it can be told: one line of at most 512 bytes, or nothing."""
    return check_name(why, "reason") if why != "" else ""
