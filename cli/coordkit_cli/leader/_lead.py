"""
Campaigns, runs the command while it leads, and campaigns again.

An outage of Redis ends a term, and never the waiting: who stands for election asks until
there is an answer.  Who is unfit, as its health command says, does not stand.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from coordkit import LeaseLost, Unreachable
from coordkit._core import lock
from coordkit._core.ops import Op, Request, Rest, Wait
from coordkit._io.clock import now

from .._exit import Exit
from .._guard import Cause, Outcome
from .._output import printable
from .._run import give_back

if TYPE_CHECKING:
    from coordkit import Election, Session
    from coordkit._core.election import Standing
    from coordkit.term import Term

    from .._guard import Guard
    from ._health import Health
    from ._hooks import Hooks

T = TypeVar("T")

#: How long a command that has ended is not run again, in seconds: at first, and at most.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: So many characters of a reason are told.
WIDEST = 100
#: Who ran for so long begins with the shortest pause again.
GOOD_RUN = 60.0


class Unfit(Exception):
    """It is not to lead now."""


@dataclass
class Seen:
    """What anybody may see of a candidate; told by one thread, and read by another."""

    name: str
    identity: str
    namespace: str
    health: Health
    #: the term that it has, which may have run out: its own clock says so
    term: Term | None = None
    terms: int = 0
    runs: int = 0
    #: how terms have ended, by reason
    ended: Counter[str] = field(default_factory=Counter[str])

    @property
    def leads(self) -> bool:
        """Whether it leads at this instant, and may go on to."""
        term = self.term
        return term is not None and term.held and not self.health.unfit


class Lead:
    """One candidate, for as long as it runs."""

    def __init__(
        self,
        guard: Guard,
        session: Session,
        election: Election,
        seen: Seen,
        hooks: Hooks,
        told: Mapping[str, str],
        *,
        restarts: bool,
        requeues: bool,
    ) -> None:
        self._guard = guard
        self._session = session
        self._election = election
        self._seen = seen
        self._hooks = hooks
        self._told = told
        self._restarts = restarts
        self._requeues = requeues

    def again_and_again(self, standing: Standing) -> int:
        """Lead whenever elected; return the code to exit with."""
        engine, name = self._session._engine, self._election.name
        with self._guard.interruptible():
            self._election.leader()  # who cannot ask at all is told so, and does not wait
            namesake = engine.run(engine.namesake(self._election._office))
        if namesake:
            self._guard.events.say(
                f"another process, too, is called {self._session.identity!r} and stands "
                f"for {name!r}: choose another --identity"
            )
        while True:
            term = self._elected(standing)
            code = None if term is None else self._lead(term)
            if code is not None:
                return code

    # -- standing ---------------------------------------------------------------------

    def _elected(self, standing: Standing) -> Term | None:
        """Wait to be elected; None when it is worth trying again."""
        events, name = self._guard.events, self._election.name
        with self._guard.interruptible():
            self._seen.health.await_fit()
        events.tell("campaigning")
        try:
            with self._guard.interruptible():
                return self._campaign(standing)
        except Unfit as unfit:
            events.tell("withdrawn", why=str(unfit))
            events.say(f"it does not stand for {name!r} any more: {unfit}")
        except (Unreachable, LeaseLost) as problem:
            events.tell("unheard", why=str(problem))
            events.say(f"campaigning for {name!r} goes on: {problem}")
        return None

    def _campaign(self, standing: Standing) -> Term:
        engine, election = self._session._engine, self._election
        claim = election._asked(standing)
        rid = engine.rid(claim)

        def taking(noted: Callable[..., Term]) -> Op[Term]:
            asked = engine.acquiring(claim, rid, noted, timeout=None, queue=True)
            elected = cast("Op[Term]", asked)  # None is for those who do not wait
            return _while_fit(elected, lambda: self._seen.health.unfit)

        return engine._taken(
            election._term,
            taking,
            engine.release,
            lambda: lock.give_up(claim, rid, now()),
        )

    # -- leading ----------------------------------------------------------------------

    def _lead(self, term: Term) -> int | None:
        """Run the command in this term; return the code to exit with, or None: go on."""
        seen, outcome = self._seen, _LOST
        why = "it was interrupted"
        seen.term, seen.terms = term, seen.terms + 1
        told = {"COORDKIT_TERM": str(term.token)}
        self._guard.events.tell(
            "elected", term=term.token, identity=self._session.identity
        )
        self._guard.events.say(f"elected, term {term.token}", level=1)
        self._hooks.run("elected", told)
        try:
            outcome = self._serve(term, {**self._told, **told})
            why = _told(outcome)
        finally:
            seen.term = None
            reason = term.reason
            give_back(self._guard, term, partial(term.resign, reason=why))
            ended = "resigned" if reason is None else reason.value
            seen.ended[ended] += 1
            self._hooks.run("lost", {**told, "COORDKIT_REASON": ended})
        if outcome.cause in (Cause.LOST, Cause.RECALLED) and not outcome.asked:
            return None if self._requeues else Exit.LEASE_LOST
        return outcome.code

    def _serve(self, term: Term, told: Mapping[str, str]) -> Outcome:
        """Run the command, and again if that is wanted; return how it ended at last."""
        seen, events, pause = self._seen, self._guard.events, SHORTEST_PAUSE
        while True:
            if over := self._over(term):
                return over
            began = now()
            try:
                outcome = self._guard.run(term, told, lambda: seen.health.unfit)
            except (Unreachable, LeaseLost) as problem:  # before its start
                events.say(f"{problem}; nothing was run")
                return _LOST
            seen.runs += 1
            if not self._restarts or outcome.asked or outcome.cause is not Cause.ITSELF:
                return outcome
            pause = SHORTEST_PAUSE if now() - began > GOOD_RUN else pause
            events.tell("restarting", pause=pause)
            events.say(f"{_told(outcome)}; it is run again in {pause:g}s", level=1)
            self._rest(term, pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _over(self, term: Term) -> Outcome | None:
        """Return why the command is not to be run, if so."""
        if why := self._seen.health.unfit:
            return _LOST._replace(cause=Cause.RECALLED, why=why)
        return None if term.held else _LOST

    def _rest(self, term: Term, pause: float) -> None:
        """Wait for so long, or until the command is not to be run again."""
        until = now() + pause
        with self._guard.interruptible():
            while (left := until - now()) > 0 and not self._over(term):
                term.lost.wait(min(left, SHORTEST_PAUSE))


#: How a command has ended that there was none of.
_LOST = Outcome(Exit.LEASE_LOST, Cause.LOST, None, "")


def _told(outcome: Outcome) -> str:
    """Say why a term is given back, for its history, in a line that fits there."""
    match outcome.cause:
        case Cause.ITSELF if outcome.status is not None and outcome.status < 0:
            return f"its command was ended by {_name(-outcome.status)}"
        case Cause.ITSELF:
            return f"its command has ended, exit {outcome.code}"
        case Cause.NOT_RUN:
            return f"its command could not be run, exit {outcome.code}"
        case cause:
            return printable(outcome.why or cause.value)[:WIDEST]


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals, which have no names
        return f"signal {number}"


def _while_fit(op: Op[T], unfit: Callable[[], str]) -> Op[T]:
    """Drive *op*, which waits to lead; have it give up at its next wait once it is unfit."""
    step: Callable[[], Request] = partial(next, op)
    while True:
        try:
            request = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            if isinstance(request, Wait | Rest) and (why := unfit()):
                raise Unfit(why)
            reply = yield request
        except GeneratorExit:
            op.close()
            raise
        except BaseException as problem:  # noqa: BLE001 - it is the operation's to handle
            step = partial(op.throw, problem)
        else:
            step = partial(op.send, reply)
