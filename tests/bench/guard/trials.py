"""Trials: something bad happens, and the command's group is to be gone in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import NamedTuple

from cli.program import Program
from coordkit import Session
from coordkit._core.keys import lock_keys
from support.groups import groups
from support.guards import COMMANDS, Guarded
from support.history import now
from support.servers import RedisServer

#: One that ends when asked to, and one that does not.
_COMMANDS = ("shell with a grandchild", "ignores TERM")
#: Between the stop signal and SIGKILL, where there is time for both.
GRACE = 0.3
#: Nobody runs for so long after all is over.
_PATIENCE = 30.0


class Trial(NamedTuple):
    """What was seen of one guard and its command; times in seconds."""

    #: from the bad thing to nobody running
    after: float
    #: from nobody running to the end of the lease, as its holder counts
    left: float
    #: whether the server still kept the lock for it then; None: it could not be asked
    kept: bool | None
    #: the guard's exit code, in the end
    code: int


class _Scene:
    """Some guards that run, and their server."""

    def __init__(self, server: RedisServer, guards: Sequence[Guarded]) -> None:
        self.server = server
        self.guards = guards

    def keys(self) -> list[str]:
        """Return the key of each guard's lock."""
        return [lock_keys("default", name).lock for name in names(len(self.guards))]


Bad = Callable[[_Scene], AbstractContextManager[None]]


def names(number: int) -> list[str]:
    """Return what the locks are called."""
    return [f"trial-{i}" for i in range(number)]


# -- what happens ----------------------------------------------------------------------


@contextmanager
def _guard_killed(scene: _Scene) -> Iterator[None]:
    for guarded in scene.guards:
        os.kill(guarded.guard.pid, signal.SIGKILL)
    yield


@contextmanager
def _shim_killed(scene: _Scene) -> Iterator[None]:
    for shim in [guarded.shim for guarded in scene.guards]:
        os.kill(shim, signal.SIGKILL)
    yield


@contextmanager
def _guard_frozen(scene: _Scene) -> Iterator[None]:
    for guarded in scene.guards:
        os.kill(guarded.guard.pid, signal.SIGSTOP)
    yield
    for guarded in scene.guards:
        os.kill(guarded.guard.pid, signal.SIGCONT)


@contextmanager
def _server_frozen(scene: _Scene) -> Iterator[None]:
    scene.server.pause()
    yield
    scene.server.resume()


@contextmanager
def _server_killed(scene: _Scene) -> Iterator[None]:
    scene.server.kill()
    yield
    scene.server.restart()


@contextmanager
def _server_emptied(scene: _Scene) -> Iterator[None]:
    scene.server.kill()
    scene.server.restart(empty=True)
    yield


@contextmanager
def _lease_stolen(scene: _Scene) -> Iterator[None]:
    with Session(scene.server.url) as thief:
        with scene.server.client() as client:
            client.delete(*scene.keys())
        locks = [thief.lock(name, ttl=60) for name in names(len(scene.guards))]
        stolen = [lock.try_acquire() for lock in locks]
        assert None not in stolen
        yield


class Kind(NamedTuple):
    """What happens, what the guards exit with, and whether the server can be asked then."""

    bad: Bad
    code: int
    asked: bool = False


KINDS = {
    "guard SIGKILLed": Kind(_guard_killed, -signal.SIGKILL, asked=True),
    "guard SIGSTOPped": Kind(_guard_frozen, 76, asked=True),
    "server SIGSTOPped": Kind(_server_frozen, 76),
    "server SIGKILLed": Kind(_server_killed, 76),
    "lease stolen": Kind(_lease_stolen, 76),
    "server restarted empty": Kind(_server_emptied, 76),
    "shim SIGKILLed": Kind(_shim_killed, 125),
}


# -- and what comes of it --------------------------------------------------------------


def run(
    what: str, program: Program, *, number: int, together: int, ttl: float
) -> list[Trial]:
    """Run so many trials of one kind, some at the same time, each batch on its own names."""
    done: list[Trial] = []
    with RedisServer() as server:
        program.env["COORDKIT_URL"] = server.url
        while len(done) < number:
            with server.client() as client:
                client.flushall()
            size = min(together, number - len(done))
            done += _batch(KINDS[what], program, server, size, ttl)
    return done


def _batch(
    kind: Kind, program: Program, server: RedisServer, size: int, ttl: float
) -> list[Trial]:
    options = ("--ttl", str(ttl), "--kill-after", str(GRACE))
    with ExitStack() as stack:
        guards = [
            stack.enter_context(
                Guarded(program, name, COMMANDS[_COMMANDS[i % 2]], *options)
            )
            for i, name in enumerate(names(size))
        ]
        scene = _Scene(server, [guarded.ready() for guarded in guards])
        ends = _Ends(scene, asked=kind.asked)
        began = now()
        with kind.bad(scene):
            ends.watch()
        codes = [guarded.guard.wait(_PATIENCE) for guarded in guards]
    return [
        Trial(at - began, deadline - at, kept, code)
        for at, deadline, kept, code in zip(
            ends.gone, ends.deadlines, ends.kept, codes, strict=True
        )
    ]


class _Ends:
    """When the commands of a scene were gone, and until when each had its lease."""

    def __init__(self, scene: _Scene, *, asked: bool) -> None:
        self._scene = scene
        self._client = scene.server.client() if asked else None
        self._groups = [guarded.group for guarded in scene.guards]
        self.gone = [0.0] * len(scene.guards)
        self.deadlines = [guarded.deadline() for guarded in scene.guards]
        self.kept: list[bool | None] = [None] * len(scene.guards)

    def watch(self) -> None:
        """Return when nobody runs any more."""
        give_up = now() + _PATIENCE
        while not all(self.gone):
            alive = groups()
            at = now()  # after the look: it may be late, never early
            assert at < give_up, f"still there: {alive.keys() & set(self._groups)}"
            for i, group in enumerate(self._groups):
                if not self.gone[i]:
                    self._look(i, at, runs=group in alive)
            time.sleep(0.001)

    def _look(self, i: int, at: float, *, runs: bool) -> None:
        with suppress(FileNotFoundError):  # it is removed at the end
            # 0 when the lease is lost: what counts is the last one.
            later = self._scene.guards[i].deadline()
            self.deadlines[i] = max(later, self.deadlines[i])
        if not runs:
            self.gone[i] = at
            if self._client is not None:
                self.kept[i] = bool(self._client.exists(self._scene.keys()[i]))
