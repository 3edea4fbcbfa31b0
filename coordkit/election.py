"""
Elections: `Election` for threads, `AsyncElection` for tasks.

Guaranteed, by one Redis that keeps its data: at most one leader of a name at a time;
terms that rise with every leader, and are fencing tokens; a leader that cannot renew
its term stops believing in it before the server lets anybody else begin, with
``ttl - renew_deadline`` between the two for its work to end; observers are told every
change in order of term, or that they have missed some.

Not guaranteed: that a leader which was paused beyond its deadline does not act, before
it looks at its term again.  Whatever it writes to must check the term.  And no election
on Redis excludes across a loss of the server's data or the promotion of a replica that
lags behind; what survives both is that terms rise.

Clock: the leader's own, from before each question was sent (see `coordkit.lease`); the
ends of leases and pauses are the server's.  No client's wall clock decides anything.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ._core.claim import Claim
from ._core.election import Office, Standing, Times, pause_seconds, standing
from ._core.observe import observe
from ._core.span import limit_seconds
from ._core.terms import (
    Candidate,
    ElectionEvent,
    ElectionInfo,
    Leader,
    TermChange,
)
from ._io.fork import OfOneProcess
from .errors import CoordError, LeadershipLost, LeaseLost, LockTimeout, Unreachable
from .lock import Acquiring
from .term import AsyncTerm, Term

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

R = TypeVar("R")
log = logging.getLogger("coordkit")

NAMESAKE = "another process, too, is called %r and stands for election %r: who is who?"


class _Named(OfOneProcess):
    """What both flavours know without asking anybody."""

    _engine: Any

    def __init__(self, engine: Any, office: Office, times: Times) -> None:
        self._engine = engine
        self._office = office
        self._times = times

    @property
    def name(self) -> str:
        """What this election is called."""
        return self._office.name

    @property
    def ttl(self) -> float:
        """How long a term lasts without renewal, in seconds."""
        return self._times.ttl

    def _asked(self, stands: Standing) -> Claim:
        return self._office.claim(self._times, self._engine.identity, stands)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self._times.shown()}>"


class Election(_Named):
    """A name that one process at a time may lead.  Making one sends nothing."""

    _engine: Engine

    # -- leading -----------------------------------------------------------------------

    def campaign(
        self,
        timeout: float | timedelta | None = None,
        priority: int = 0,
        *,
        meta: Mapping[str, Any] | None = None,
        preempt: bool = False,
    ) -> Term:
        """
        Wait to be elected, at most *timeout* seconds (None: as long as it takes).

        Of those who wait, higher *priority* (-100 to 100) goes first, and among equals
        who came first.  *preempt*: a leader of lower priority is asked to resign, which
        it hears with its next renewal.  *meta* is shown to whoever asks.

        `LockTimeout` when others led for so long.  `Unreachable` when the server gave no
        answer until then, or for one whole ttl: then the candidacy is taken back as soon
        as the server answers again.
        """
        limit = limit_seconds(timeout, "timeout")
        return self._campaign(standing(priority, meta, preempt=preempt), limit)

    def run(
        self,
        on_elected: Callable[[Term], R],
        priority: int = 0,
        *,
        meta: Mapping[str, Any] | None = None,
        preempt: bool = False,
    ) -> R:
        """
        Campaign, call *on_elected* with the term, and campaign again when it has returned.

        Return what it returns, once that is true (anything but None, 0, False, …).  What
        it raises comes out, except that it has lost this term: then it is elected anew.
        An outage of the server is ridden out.

        The term is resigned only after *on_elected* has ended.  It must look: at
        ``term.held`` before each step, or wait in ``term.lost.wait()``; no thread can be
        stopped from outside.  From the loss on it has ``ttl - renew_deadline`` to end.
        """
        stands = standing(priority, meta, preempt=preempt)
        while True:
            term = self._elected(stands)
            if term is None:
                continue
            ended, result = False, None
            try:
                with term:
                    result = on_elected(term)
                    ended = True
            except LeadershipLost as lost:
                if lost.token != term.token:
                    raise
            except CoordError:
                if (
                    not ended
                ):  # else only the resignation has failed: the term ends by itself
                    raise
            if result:
                return result

    # -- looking on --------------------------------------------------------------------

    def leader(self) -> Leader | None:
        """Return who leads, or None.  It may have changed since."""
        return self._engine.run(self._office.leader())

    def candidates(self) -> tuple[Candidate, ...]:
        """Return who waits, in the order in which they would be elected."""
        return self._engine.run(self._office.info()).candidates

    def info(self) -> ElectionInfo:
        """Return who leads and who waits, seen at one instant, and whether it is paused."""
        return self._engine.run(self._office.info())

    def history(self) -> list[TermChange]:
        """Return the last changes, the oldest first: some sixty terms, for 90 days."""
        return self._engine.run(self._office.past())

    def observe(self) -> Generator[ElectionEvent]:
        """
        Yield who leads at present, or `Vacant`; then every change, in order of term.

        It never ends silently: while the server gives no answer there is `Suspended`,
        then `Resumed`.  After a silence in which more happened than is remembered, there
        is `Missed`.
        """
        watching = observe(self._office.subject(), self._engine.rid())
        return self._engine.stream(watching)

    # -- for operators -----------------------------------------------------------------

    def revoke(self, *, identity: str | None = None, reason: str = "") -> Leader | None:
        """
        Ask the leader to resign; return who that is, or None if nobody leads.

        It hears so with its next renewal, stops, and the next candidate follows; one that
        does not stop has lost its term by the ttl.  *identity*: ask nobody else; `NotHeld`
        if that one does not lead.
        """
        return self._engine.run(self._office.revoke(reason, identity))

    def transfer(self, to: str, *, reason: str = "") -> Leader:
        """
        Ask the leader to resign in favour of the candidate *to*; return who was asked.

        The candidate goes first in line, before every priority.  `NoLeader` when nobody
        leads, `NoCandidate` when nobody, or more than one, of that identity waits.
        """
        identity = self._engine.identity
        return self._engine.run(self._office.transfer(to, identity, reason))

    def pause(
        self, lasting: float | timedelta | None = None, *, reason: str = ""
    ) -> Leader | None:
        """
        Have nobody lead, for *lasting* seconds, or until `resume` (None).

        Who leads is asked to resign, and returned.  Candidates keep their places.
        """
        limit, engine = pause_seconds(lasting), self._engine
        rid = engine.rid()
        return engine.run(self._office.pause(rid, engine.identity, limit, reason))

    def resume(self) -> None:
        """Let somebody lead again; nothing happens if it is not paused."""
        self._engine.run(self._office.resume(self._engine.identity))

    # -- how ---------------------------------------------------------------------------

    def _campaign(self, stands: Standing, limit: float | None) -> Term:
        if self._engine.run(self._engine.namesake(self._office)):
            log.warning(NAMESAKE, self._engine.identity, self.name)
        claim, queue = self._asked(stands), limit != 0
        term = self._engine.acquire(claim, self._term, timeout=limit, queue=queue)
        if term is None:
            raise LockTimeout(self.name, 0.0)
        return term

    def _elected(self, stands: Standing) -> Term | None:
        """Return a term, or None when it is worth trying again."""
        try:
            return self._campaign(stands, None)
        except (Unreachable, LeaseLost) as problem:
            log.warning("campaigning for %r goes on: %s", self.name, problem)
            return None

    def _term(
        self, claim: Claim, rid: str, token: int, asked_at: float, lasts: float
    ) -> Term:
        return Term(self._engine, claim, rid, token, asked_at, lasts)


class AsyncElection(_Named):
    """A name that one process at a time may lead.  Making one sends nothing."""

    _engine: AsyncEngine

    # -- leading -----------------------------------------------------------------------

    def campaign(
        self,
        timeout: float | timedelta | None = None,
        priority: int = 0,
        *,
        meta: Mapping[str, Any] | None = None,
        preempt: bool = False,
    ) -> Acquiring[AsyncTerm]:
        """
        Wait to be elected, at most *timeout* seconds (None: as long as it takes).

        Of those who wait, higher *priority* (-100 to 100) goes first, and among equals
        who came first.  *preempt*: a leader of lower priority is asked to resign, which
        it hears with its next renewal.  *meta* is shown to whoever asks.

        `LockTimeout` when others led for so long.  `Unreachable` when the server gave no
        answer until then, or for one whole ttl: then the candidacy is taken back as soon
        as the server answers again.
        """
        limit = limit_seconds(timeout, "timeout")
        stands = standing(priority, meta, preempt=preempt)
        shown = "" if limit is None else f" timeout={limit:g}"
        return Acquiring(f"{self.name!r}{shown}", lambda: self._campaign(stands, limit))

    async def run(
        self,
        on_elected: Callable[[AsyncTerm], Awaitable[R]],
        priority: int = 0,
        *,
        meta: Mapping[str, Any] | None = None,
        preempt: bool = False,
    ) -> R:
        """
        Campaign, await *on_elected* with the term, and campaign again when it has returned.

        Return what it returns, once that is true (anything but None, 0, False, …).  What
        it raises comes out, except that it has lost this term: then it is elected anew.
        An outage of the server is ridden out.

        When the term is lost, *on_elected* is cancelled, and resigned only after it has
        ended: for its clean-up it has ``ttl - renew_deadline``.
        """
        stands = standing(priority, meta, preempt=preempt)
        while True:
            term = await self._elected(stands)
            if term is None:
                continue
            ended, result = False, None
            try:
                async with term:
                    result = await on_elected(term)
                    ended = True
            except LeadershipLost as lost:
                if lost.token != term.token:
                    raise
            except CoordError:
                if (
                    not ended
                ):  # else only the resignation has failed: the term ends by itself
                    raise
            if result:
                return result

    # -- looking on --------------------------------------------------------------------

    async def leader(self) -> Leader | None:
        """Return who leads, or None.  It may have changed since."""
        return await self._engine.run(self._office.leader())

    async def candidates(self) -> tuple[Candidate, ...]:
        """Return who waits, in the order in which they would be elected."""
        return (await self._engine.run(self._office.info())).candidates

    async def info(self) -> ElectionInfo:
        """Return who leads and who waits, seen at one instant, and whether it is paused."""
        return await self._engine.run(self._office.info())

    async def history(self) -> list[TermChange]:
        """Return the last changes, the oldest first: some sixty terms, for 90 days."""
        return await self._engine.run(self._office.past())

    def observe(self) -> AsyncGenerator[ElectionEvent]:
        """
        Yield who leads at present, or `Vacant`; then every change, in order of term.

        It never ends silently: while the server gives no answer there is `Suspended`,
        then `Resumed`.  After a silence in which more happened than is remembered, there
        is `Missed`.
        """
        watching = observe(self._office.subject(), self._engine.rid())
        return self._engine.stream(watching)

    # -- for operators -----------------------------------------------------------------

    async def revoke(
        self, *, identity: str | None = None, reason: str = ""
    ) -> Leader | None:
        """
        Ask the leader to resign; return who that is, or None if nobody leads.

        It hears so with its next renewal, stops, and the next candidate follows; one that
        does not stop has lost its term by the ttl.  *identity*: ask nobody else; `NotHeld`
        if that one does not lead.
        """
        return await self._engine.run(self._office.revoke(reason, identity))

    async def transfer(self, to: str, *, reason: str = "") -> Leader:
        """
        Ask the leader to resign in favour of the candidate *to*; return who was asked.

        The candidate goes first in line, before every priority.  `NoLeader` when nobody
        leads, `NoCandidate` when nobody, or more than one, of that identity waits.
        """
        identity = self._engine.identity
        return await self._engine.run(self._office.transfer(to, identity, reason))

    async def pause(
        self, lasting: float | timedelta | None = None, *, reason: str = ""
    ) -> Leader | None:
        """
        Have nobody lead, for *lasting* seconds, or until `resume` (None).

        Who leads is asked to resign, and returned.  Candidates keep their places.
        """
        limit, engine = pause_seconds(lasting), self._engine
        rid = engine.rid()
        return await engine.run(self._office.pause(rid, engine.identity, limit, reason))

    async def resume(self) -> None:
        """Let somebody lead again; nothing happens if it is not paused."""
        await self._engine.run(self._office.resume(self._engine.identity))

    # -- how ---------------------------------------------------------------------------

    async def _campaign(self, stands: Standing, limit: float | None) -> AsyncTerm:
        if await self._engine.run(self._engine.namesake(self._office)):
            log.warning(NAMESAKE, self._engine.identity, self.name)
        claim, queue = self._asked(stands), limit != 0
        term = await self._engine.acquire(claim, self._term, timeout=limit, queue=queue)
        if term is None:
            raise LockTimeout(self.name, 0.0)
        return term

    async def _elected(self, stands: Standing) -> AsyncTerm | None:
        """Return a term, or None when it is worth trying again."""
        try:
            return await self._campaign(stands, None)
        except (Unreachable, LeaseLost) as problem:
            log.warning("campaigning for %r goes on: %s", self.name, problem)
            return None

    def _term(
        self, claim: Claim, rid: str, token: int, asked_at: float, lasts: float
    ) -> AsyncTerm:
        return AsyncTerm(self._engine, claim, rid, token, asked_at, lasts)
