"""
The shim: ends a command's process group when its guard no longer can.

    guard (talks to Redis) ──pipe: deadline──► shim ──► command, in a group of its own

It is forked from the guard before redis is imported, so it is small, and it knows
the pipe and the lease's deadline, nothing else.  It ends the group at the end of the
pipe (the guard is dead) and ahead of the deadline (the guard is frozen, Redis is
gone): first with the stop signal, and with SIGKILL a margin before the deadline.

Guaranteed, while the machine runs and one of guard and shim does: no process of the
group outlives the lease.

Not guaranteed: anything about a process that has left the group (`setsid`), that
belongs to another user, or that sleeps in the kernel where no signal reaches it; nor
when the whole machine is paused.  There only the fencing token protects.

Clock: that of the leases.  Timers may stand still while the machine sleeps, so none
is trusted for longer than a second.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import select
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from coordkit._io.clock import now

from ._group import Group
from ._post import Post, pair
from ._terminal import Terminal

#: How often what is left of a group is looked at, at first and after a while.
LOOK, LOOK_LATER = 0.005, 0.05
LONGEST_NAP = 1.0
#: The group of a dead guard has so long between the signals: nobody renews its lease,
#: and nobody can be told that it still runs.
ORPHANS_GRACE = 0.025
#: What a terminal stops a job with.
JOB_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
#: Sent to whole groups and sessions, and never meant for the shim.
_DEAF_TO = JOB_STOPS | {
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE),
}
#: Ignored by Python, whatever it was started with.
_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


class Command(NamedTuple):
    """What to run: its file, its arguments from the zeroth on, and its environment."""

    file: str
    argv: list[str]
    environ: Mapping[str, str]


class Rules(NamedTuple):
    """How the group is ended.  Times in seconds."""

    #: what it is sent when the lease ends; 0: nothing
    lost_signal: int
    #: whether SIGKILL follows then
    lost_kills: bool
    #: what it is sent when it is ended for another reason
    stop_signal: int
    #: how long it has between the first signal and SIGKILL
    grace: float
    #: how long before the deadline SIGKILL is sent
    margin: float
    #: whether what the command leaves behind in its group is left alone
    leave_group: bool


def fork(command: Command, rules: Rules) -> tuple[int, Post]:
    """Fork a shim for this command; return its process id and the guard's post."""
    ours, theirs = pair()
    terminal = Terminal()
    # Until the shim is deaf, what is sent to both of them waits.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                _Shim(theirs, command, rules, terminal, mask).serve()
            finally:
                os._exit(os.EX_SOFTWARE)  # the guard sees that it is gone
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return pid, ours


def _rename(title: str) -> None:
    """
    Be called *title* in `ps`: who ends the guard by its name is not to hit both.

    Only Linux lets a process choose; the second name is where its arguments were.
    """
    with suppress(OSError):
        with open("/proc/self/comm", "w") as comm:
            comm.write(title.split(maxsplit=1)[0])
        with open("/proc/self/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(title.encode()[: end - start].ljust(end - start, b"\0"))


def _notice(_signum: int, _frame: object) -> None:
    """Have SIGCHLD wake who waits: an ignored signal does not."""


class _Shim:
    """Runs the command whenever the guard asks, until the guard is gone."""

    def __init__(
        self,
        post: Post,
        command: Command,
        rules: Rules,
        terminal: Terminal,
        mask: set[int | signal.Signals],
    ) -> None:
        self.post = post
        self.command = command
        self.rules = rules
        self.terminal = terminal
        #: what the command is to find as whoever started the guard left it
        self.changed = _BY_PYTHON | {
            number
            for number in _DEAF_TO | {signal.SIGCHLD}
            if signal.getsignal(number) != signal.SIG_IGN
        }
        os.setpgid(0, 0)  # who kills the guard with its group does not hit the shim
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _notice)
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        gc.disable()  # it would write to every page that is shared with the guard
        _rename(f"ck-shim of {os.getppid()}")

    def serve(self) -> NoReturn:
        """Run the command when asked; end its group when need be."""
        waiting = select.poll()
        waiting.register(self.post.reading, select.POLLIN)
        waiting.register(self._woken, select.POLLIN)
        run: _Run | None = None
        try:
            while run is not None or not self.post.ended:
                waiting.poll(None if run is None else math.ceil(1000 * run.nap()))
                with suppress(BlockingIOError):
                    os.read(self._woken, 64)
                for message in self.post.received():
                    run = self._obey(run, message)
                if run is not None:
                    if self.post.ended and not run.orphan:
                        waiting.unregister(self.post.reading)
                        run.lose_guard()
                    run.look()
                    run = None if run.over else run
        finally:
            if run is not None:
                run.group.signal(signal.SIGKILL)
        os._exit(os.EX_OK)

    def _obey(self, run: _Run | None, message: Any) -> _Run | None:
        match message:
            case ["run", deadline, more]:
                return self._start(deadline, more)
            case ["deadline", instant] if run is not None:
                run.deadline = max(run.deadline, instant)
            case ["pass on", signum] if run is not None:
                run.pass_on(signum)
            case ["end", signum, kill_at] if run is not None:
                run.end(signum, kill_at)
            case _:
                pass  # it is about a run that is over
        return run

    def _start(self, deadline: float, more: Mapping[str, str]) -> _Run | None:
        if now() >= deadline - self.rules.margin - self.rules.grace:
            self.post.send("ending")  # frozen on the way here: it is too late to begin
            self.post.send("gone")
            return None
        lend = self.terminal.lend()
        try:
            pid = os.fork()
        except OSError as error:
            self.post.send("failed", error.errno)
            self.post.send("gone")
            return None
        if pid == 0:
            try:
                self._become(more, lend)
            finally:
                os._exit(os.EX_OSERR)
        with suppress(OSError):
            os.setpgid(pid, pid)  # it does it too: whoever is first
        return _Run(self, pid, deadline, more)

    def _become(self, more: Mapping[str, str], lend: bool) -> None:
        """In the command's own process: set it up, and run it."""
        own, command = os.getpid(), self.command
        os.setpgid(0, 0)
        self.post.send("started", own)
        if lend:
            self.terminal.hand_to(own)
        for number in self.changed:
            signal.signal(number, signal.SIG_DFL)
        environ, why = {**command.environ, **more}, errno.ENOEXEC
        for file, argv in (
            (command.file, command.argv),
            # A script without "#!" is one for the shell, as execvp(3) has it.
            ("/bin/sh", ["/bin/sh", command.file, *command.argv[1:]]),
        ):
            if why == errno.ENOEXEC:
                try:
                    os.execve(file, argv, environ)  # noqa: S606 - on purpose
                except OSError as error:
                    why = error.errno or errno.EIO
        self.post.send("failed", why)


class _Run:
    """One run of the command, up to the end of its group."""

    def __init__(
        self, shim: _Shim, leader: int, deadline: float, more: Mapping[str, str]
    ) -> None:
        self.group = Group(leader)
        self.deadline = deadline
        self.orphan = False
        self.over = False
        self._post = shim.post
        self._rules = shim.rules
        self._terminal = shim.terminal
        self._lease_file = more.get("COORDKIT_LEASE_FILE")
        self._running = True
        self._ending = False
        self._kill_at = math.inf
        self._pause = LOOK

    def nap(self) -> float:
        """Return how long nothing needs to be done, if nothing happens."""
        left = self._next_at() - now()
        if self._running and left > 0:
            return min(left, LONGEST_NAP)
        self._pause = min(2 * self._pause, LOOK_LATER)
        return self._pause

    def _next_at(self) -> float:
        """Return when the first signal is due, or SIGKILL if that was sent."""
        rules = self._rules
        if not self._ending:
            return self.deadline - rules.margin - rules.grace
        by_lease = self.deadline - rules.margin if rules.lost_kills else math.inf
        return min(self._kill_at, by_lease)

    def look(self) -> None:
        """See what has become of the command, and what is due."""
        self._reap()
        if not self._running and not (self._ending and self.group.runs()):
            self._finish()  # from here on its number means nothing
        elif now() < self._next_at():
            pass
        elif self._ending:
            self.group.signal(signal.SIGKILL)
        else:
            self._post.send("ending")
            self.end(self._rules.lost_signal, math.inf)

    def _finish(self) -> None:
        self.over = True
        if self.orphan and self._lease_file:
            with suppress(OSError):
                os.unlink(self._lease_file)
        self._post.send("gone")

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(self.group.leader, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._stopped(os.WSTOPSIG(status))
                continue
            self._running = False
            self._terminal.take_back()
            self._post.send("exited", os.waitstatus_to_exitcode(status))
            if not self._rules.leave_group and self.group.runs():
                self.end(self._rules.stop_signal, now() + self._rules.grace)

    def _stopped(self, signum: int) -> None:
        if self._ending or signum not in JOB_STOPS:
            return
        if signum != signal.SIGTSTP and self._terminal.lend(asked=True):
            self._continue()
        else:
            self._terminal.take_back()
            self._post.send("stopped", signum)

    def _continue(self) -> None:
        self._terminal.hand_to(self.group.leader)
        self.group.signal(signal.SIGCONT)

    def pass_on(self, signum: int) -> None:
        """Send the group what was sent to the guard."""
        if signum == signal.SIGCONT and self._terminal.lend():
            self._continue()
        else:
            self.group.signal(signum)

    def end(self, signum: int, kill_at: float) -> None:
        """Send the group this signal, and SIGKILL at *kill_at* or ahead of the deadline."""
        self._ending = True
        self._kill_at = min(self._kill_at, kill_at)
        if signum:
            self.group.signal(signum)
            self.group.signal(signal.SIGCONT)  # who is stopped hears no other signal

    def lose_guard(self) -> None:
        """End the group: nobody renews its lease any more."""
        self.orphan, rules = True, self._rules
        self._terminal.take_back()  # whoever waited for the guard goes on by now
        kill_at = now() + ORPHANS_GRACE if rules.lost_kills else math.inf
        self.end(rules.lost_signal, kill_at)
