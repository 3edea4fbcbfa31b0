"""Trials: something bad happens, and the command's group is to be gone in time."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        return [lock_keys("default", guarded.name).lock for guarded in self.guards]


Bad = Callable[[_Scene], AbstractContextManager[None]]


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
        locks = [thief.lock(guarded.name, ttl=60) for guarded in scene.guards]
        stolen = [lock.try_acquire() for lock in locks]
        assert None not in stolen
        yield


class Kind(NamedTuple):
    """What happens, and what the guards exit with."""

    bad: Bad
    code: int
    #: whether the server still can be asked then
    asked: bool = False
    #: whether it happens to one guard after another: for what is over at once
    one_by_one: bool = False


KINDS = {
    "guard SIGKILLed": Kind(
        _guard_killed, -signal.SIGKILL, asked=True, one_by_one=True
    ),
    "guard SIGSTOPped": Kind(_guard_frozen, 76, asked=True),
    "server SIGSTOPped": Kind(_server_frozen, 76),
    "server SIGKILLed": Kind(_server_killed, 76),
    "lease stolen": Kind(_lease_stolen, 76),
    "server restarted empty": Kind(_server_emptied, 76),
    "shim SIGKILLed": Kind(_shim_killed, 125, one_by_one=True),
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
                Guarded(program, f"trial-{i}", COMMANDS[_COMMANDS[i % 2]], *options)
            )
            for i in range(size)
        ]
        guards = [guarded.ready() for guarded in guards]
        each = [[guarded] for guarded in guards] if kind.one_by_one else [guards]
        return [
            trial for some in each for trial in _happens(kind, _Scene(server, some))
        ]


def _happens(kind: Kind, scene: _Scene) -> list[Trial]:
    ends = _Ends(scene, asked=kind.asked)
    began = now()
    with kind.bad(scene):
        ends.watch()
    codes = [guarded.guard.wait(_PATIENCE) for guarded in scene.guards]
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
        for look in itertools.count():
            # Most looks are cheap ones, which take the dead for alive until they are reaped.
            alive = groups() if look % 5 == 4 else None
            for i, group in enumerate(self._groups):
                if not self.gone[i]:
                    self._look(i, runs=_is_there(group, alive))
            if all(self.gone):
                return
            assert now() < give_up, f"some of these are still there: {self._groups}"
            time.sleep(0.001)

    def _look(self, i: int, *, runs: bool) -> None:
        at = now()  # after the look: it may be late, never early
        with suppress(FileNotFoundError):  # it is removed at the end
            # 0 when the lease is lost: what counts is the last one.
            later = self._scene.guards[i].deadline()
            self.deadlines[i] = max(later, self.deadlines[i])
        if not runs:
            self.gone[i] = at
            if self._client is not None:
                self.kept[i] = bool(self._client.exists(self._scene.keys()[i]))


def _is_there(group: int, alive: Mapping[int, object] | None) -> bool:
    if alive is not None:
        return group in alive
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
