"""The runs of a cron that are kept, as they are read: who ran what when, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..errors import KeyConflict
from .reply import number, text


class State(StrEnum):
    """What became of a run."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    #: its host died, or could not tell how it ended
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Run:
    """One run; *since* and *ended* in ms of the server's clock."""

    rid: str
    tick: int
    attempt: int
    since: int
    ended: int | None
    state: State
    code: int | None
    token: int
    identity: str
    spec: str

    @property
    def lasted(self) -> float | None:
        """For how many seconds it ran."""
        return None if self.ended is None else max(0, self.ended - self.since) / 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is of a name, at *now* by the server's clock; newest run first."""

    now: int
    runs: Sequence[Run]


def read(value: list[Any], name: str) -> Seen:
    """Return what the server told of *name*: of a run that nobody holds, that it is lost."""
    now, holder, *lines = value
    try:
        runs = [_run(text(line)) for line in lines]
    except ValueError:
        raise KeyConflict(f"what is kept of the runs of {name!r} is not ours") from None
    for n, run in enumerate(runs):
        if run.state is State.RUNNING and (n > 0 or run.rid != text(holder)):
            runs[n] = replace(run, state=State.LOST)
    return Seen(number(now), runs)


def _run(line: str) -> Run:
    fields = line.split("\n", 9)
    rid, tick, attempt, since, ended, state, code, token, identity, spec = fields
    return Run(
        rid=rid,
        tick=int(tick),
        attempt=int(attempt),
        since=int(since),
        ended=int(ended) if ended else None,
        state=State(state),
        code=int(code) if code else None,
        token=int(token),
        identity=identity,
        spec=spec,
    )
