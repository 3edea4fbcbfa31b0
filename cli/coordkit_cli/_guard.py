"""
The guard: runs a command under a lease, so that it cannot outlive it.

A `Guard` is made before redis is imported, for it forks the shim (`_shim`).  Then it
runs its command under one lease after another, whatever they are leases of.  When
`run` returns, nothing of the command's process group runs any more, and the lease may
be given back.

The shim starts the command and sends it all signals, for it is the parent: who reaps a
process knows when its number no longer means it.  The guard knows why: the lease is
lost, the time is up.  When one of them is dead or frozen, the other ends the group.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from coordkit._io.clock import now

from ._command import shown
from ._duration import spoken
from ._events import Events
from ._exit import Exit, Failure
from ._group import Group
from ._lease_file import LeaseFile
from ._shim import LOOK, Command, Rules, fork
from ._signals import Signals

if TYPE_CHECKING:
    from coordkit import Reason

#: A lease is looked at this often, in parts of its ttl, and at least once a second.
LOOK_AT_LEASE = 1 / 20
#: Less than this part of its ttl is left: its renewal is overdue, and when it comes the
#: shim is to hear of it at once.
OVERDUE, LOOK_OFTEN = 0.6, 0.02
#: How long it is tried to end what SIGKILL does not end.
PATIENCE = 5.0


class Held(Protocol):
    """What a guard must know of a lease."""

    name: str
    token: int
    ttl: float
    #: infinite: the command may run on without it
    deadline: float

    @property
    def reason(self) -> Reason | None:
        """Why it is lost; None while it is not."""
        ...

    def remaining(self) -> float:
        """Return for how many seconds it may be relied on."""
        ...

    def renew(self) -> None:
        """Push its deadline away now."""
        ...

    def _watch(self, tell: Callable[[], None]) -> None: ...

    def _unwatch(self, tell: Callable[[], None]) -> None: ...


class Cause(StrEnum):
    """Why a command is over."""

    ITSELF = "itself"
    LOST = "lost"
    MAX_RUNTIME = "max-runtime"
    RECALLED = "recalled"
    NOT_RUN = "not-run"
    UNGUARDED = "unguarded"


#: A hang-up may mean to read settings anew.  Of Ctrl-C only the command hears.
_ASKING = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
_CODES = {
    Cause.LOST: Exit.LEASE_LOST,
    Cause.RECALLED: Exit.LEASE_LOST,
    Cause.MAX_RUNTIME: Exit.MAX_RUNTIME,
    Cause.UNGUARDED: Exit.UNGUARDED,
}


class Outcome(NamedTuple):
    """What became of a command."""

    #: the code to exit with
    code: int
    cause: Cause
    #: how it ended: its exit code, or minus the signal; None if that is not known
    status: int | None
    #: more about the cause, in words
    why: str
    #: whether whoever sent a signal wanted it to end, and not just this command
    asked: bool = False


class Guard:
    """Runs one command, again and again if need be; use it as a context manager."""

    def __init__(
        self,
        command: Command,
        rules: Rules,
        events: Events,
        *,
        max_runtime: float | None = None,
    ) -> None:
        self.command = command
        self.rules = rules
        self.events = events
        self.max_runtime = math.inf if max_runtime is None else max_runtime
        self._running = False
        try:
            self.shim, self.post = fork(command, rules)
        except OSError as error:
            raise Failure(f"cannot fork: {error.strerror}", Exit.UNGUARDED) from None
        self.signals = Signals()  # after the fork: the command finds what we found

    def interruptible(self) -> AbstractContextManager[None]:
        """Let signals that end a wait raise `Interrupted` in the body; else they wait."""
        return self.signals.interrupting()

    def run(
        self,
        lease: Held,
        more: Mapping[str, str],
        recall: Callable[[], str] = lambda: "",
    ) -> Outcome:
        """
        Run the command under *lease*, with *more* in its environment.

        Returns when its group is gone.  *recall* is asked now and then, and may say why
        the command is to end.  `Interrupted` when a signal came before the start; what
        the renewal of a short lease raises; then nothing was run.
        """
        # One that was handed over lasts only as long as its waiter's place would have.
        if lease.remaining() < lease.ttl / 3 + self.rules.grace + self.rules.margin:
            lease.renew()
        file = LeaseFile()
        watch = _Watch(self, lease, file, recall)
        lease._watch(self.signals.wake)
        try:
            with self.signals.passing_on():
                self._running = True
                outcome = watch.see_through(more)
                self._running = False
            self.events.tell("gone", cause=outcome.cause)
            return outcome
        finally:
            lease._unwatch(self.signals.wake)
            file.remove()

    def close(self) -> None:
        """End the shim, and with it a command that still runs."""
        self.post.close()
        with suppress(ProcessLookupError, ChildProcessError):
            if not self._running and not self.post.ended:
                os.kill(self.shim, signal.SIGKILL)  # there is nothing left for it to do
            os.waitpid(self.shim, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watch:
    """One run of a command, as its guard sees it."""

    def __init__(
        self, guard: Guard, lease: Held, file: LeaseFile, recall: Callable[[], str]
    ) -> None:
        self._guard = guard
        self._rules = guard.rules
        self._events = guard.events
        self._post = guard.post
        self._lease = lease
        self._file = file
        self._recall = recall
        self._deadline = lease.deadline
        self._group: Group | None = None
        self._status: int | None = None
        self._errno = 0
        self._gone = False
        self._lost = False
        self._late = False
        self._cause = Cause.ITSELF
        self._why = ""
        self._passed: set[int] = set()
        #: when its time is up, and when the shim has not done what it should have
        self._stop_at = math.inf
        self._kill_at = math.inf

    def see_through(self, more: Mapping[str, str]) -> Outcome:
        """Start the command; return when its group is gone."""
        post, signals = self._post, self._guard.signals
        own: dict[str, str] = {}
        if self._deadline < math.inf:
            self._file.write(self._deadline)
            own["COORDKIT_FENCING_TOKEN"] = str(self._lease.token)
            if self._file.path:
                own["COORDKIT_LEASE_FILE"] = self._file.path
        post.send("run", self._deadline, {**more, **own})
        waiting = select.poll()
        waiting.register(post.reading, select.POLLIN)
        waiting.register(signals.reading, select.POLLIN)
        while not self._gone:
            waiting.poll(math.ceil(1000 * self._nap()))
            for number in signals.taken():
                post.send("pass on", number)
                self._passed.add(number)
            for message in post.received():
                self._hear(message)
            if not self._gone:
                self._look()
            if os.getpid() == 1:
                from ._script import bury_orphans

                bury_orphans()
        return self._outcome()

    def _nap(self) -> float:
        """Return how long to wait for something to happen before the next look."""
        lease = self._lease
        if self._lost or lease.remaining() > OVERDUE * lease.ttl:
            self._late = False
            return min(lease.ttl * LOOK_AT_LEASE, 1.0)
        if not self._late:
            self._late = True
            self._events.tell("at-risk", expires_in=round(lease.remaining(), 3))
            self._events.say("no renewal succeeds, it is tried again", level=1)
        return LOOK_OFTEN

    def _hear(self, message: list[Any]) -> None:
        match message:
            case ["started", pid]:
                self._group = Group(pid)
                self._stop_at = now() + self._guard.max_runtime
                self._events.tell("started", pid=pid)
            case ["failed", number]:
                self._errno = number
                file = self._guard.command.file
                self._events.say(f"{file!r} cannot be run: {os.strerror(number)}")
            case ["stopped", signum]:
                self._stop_too(signum)
            case ["ending"]:
                self._lose("unrenewed", "no renewal succeeded in time")
            case ["exited", status]:
                self._status = status
                self._events.tell("exited", **_told(status))
            case _:  # "gone"
                self._gone = True

    def _look(self) -> None:
        """See what the lease, the clock and the shim say."""
        lease, at = self._lease, now()
        reason = lease.reason
        if reason is not None:
            self._file.write(0.0)
            self._lose(reason.value, reason.why)
        elif lease.deadline > self._deadline:
            self._deadline = lease.deadline
            self._post.send("deadline", self._deadline)
            self._file.write(self._deadline)
            self._events.pulse("renewed", expires_in=round(lease.remaining(), 3))
        if at >= self._stop_at and self._over_by(Cause.MAX_RUNTIME, "its time is up"):
            self._end(self._rules.stop_signal, at + self._rules.grace, PATIENCE)
        if (why := self._recall()) and self._over_by(Cause.RECALLED, why):
            self._end(self._rules.stop_signal, at + self._rules.grace, PATIENCE)
        if self._post.ended:
            self._over_by(Cause.UNGUARDED, "its shim was killed")
            self._kill()
        elif at >= self._kill_at:
            self._kill()  # the shim is frozen

    def _lose(self, reason: str, why: str) -> None:
        """End the group, by the rule for a lease that is lost."""
        if self._lost:
            return
        self._lost, rules = True, self._rules
        self._events.tell("lost", reason=reason)
        told = f"the lease on {self._lease.name!r} is lost: {why}"
        if rules.lost_kills:
            self._over_by(Cause.LOST, told)
            kill_at = min(now() + rules.grace, self._deadline - rules.margin)
            self._end(rules.lost_signal, kill_at, rules.margin / 2)
        else:
            self._events.say(told)
            self._post.send("end", rules.lost_signal, math.inf)

    def _over_by(self, cause: Cause, why: str) -> bool:
        """Note why the command is over, unless it is already; return whether that is new."""
        if self._cause is not Cause.ITSELF or self._status is not None:
            return False
        self._cause, self._why = cause, why
        self._events.say(f"{why}; {shown(self._guard.command.argv)} is ended")
        return True

    def _end(self, signum: int, kill_at: float, patience: float) -> None:
        """Have the shim end the group; give it so much longer than it needs."""
        self._events.tell("ending", cause=self._cause)
        self._kill_at = min(self._kill_at, kill_at + patience)
        self._post.send("end", signum, kill_at)

    def _kill(self) -> None:
        """End the group without the shim."""
        group, until = self._group, now() + PATIENCE
        while group is not None and group.runs():
            if now() >= until:
                self._events.say("some of its processes cannot be ended by this user")
                break
            group.signal(signal.SIGKILL)
            time.sleep(LOOK)
        self._gone = True

    def _stop_too(self, signum: int) -> None:
        """Stop with the command, as one job, until the shell continues it."""
        rules = self._rules
        left = max(0.0, self._lease.remaining() - rules.margin - rules.grace)
        self._events.tell("stopped")
        if left < math.inf:
            self._events.say(
                f"stopped, and its lease is not renewed: it is ended in {spoken(left)}, "
                "unless it goes on before"
            )
        handler = signal.signal(signum, signal.SIG_IGN)
        os.killpg(0, signum)  # whoever is in the pipeline with us
        signal.signal(signum, signal.SIG_DFL)
        # Here it stops; or not, if we are an orphaned group, which nobody would continue.
        signal.raise_signal(signum)
        signal.signal(signum, handler)
        self._events.tell("continued")
        self._post.send("pass on", signal.SIGCONT)

    def _outcome(self) -> Outcome:
        cause, status, why = self._cause, self._status, self._why
        if self._errno and cause is Cause.ITSELF:
            return _not_run(self._errno)
        own = (
            Exit.UNGUARDED if status is None else 128 - status if status < 0 else status
        )
        asked = bool(_ASKING & self._passed) or -(status or 0) in {
            signal.SIGINT,
            *self._passed,
        }
        return Outcome(_CODES.get(cause, own), cause, status, why, asked)


def _not_run(number: int) -> Outcome:
    if number in (errno.ENOENT, errno.ENOTDIR):
        code = Exit.NOT_FOUND
    elif number in (errno.EAGAIN, errno.ENOMEM):  # there are too many processes
        code = Exit.UNGUARDED
    else:
        code = Exit.NOT_EXECUTABLE
    return Outcome(code, Cause.NOT_RUN, None, os.strerror(number))


def _told(status: int) -> dict[str, Any]:
    """Return how a command ended, as an event tells it."""
    if status >= 0:
        return {"code": status}
    try:
        return {"signal": signal.Signals(-status).name}
    except ValueError:  # one of the real-time signals, which have no names
        return {"signal": str(-status)}
