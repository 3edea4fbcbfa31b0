"""A run as it is told: in words, and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._duration import spoken

if TYPE_CHECKING:
    from coordkit._core.cron import Passed
    from coordkit._core.runs import Run


def result(run: Run) -> str:
    """Say what became of a run, in a word or two."""
    from coordkit._core.runs import State

    match run.state:
        case State.FAILED:
            return f"failed, exit {run.code}"
        case State.LOST:
            return "lost"
        case state:
            return state.value


def lasted(run: Run, now: int) -> str:
    """Say for how long it ran, or has been running."""
    from coordkit._core.runs import State

    if run.lasted is not None:
        return spoken(run.lasted)
    return spoken(max(0, now - run.since) / 1000) if run.state is State.RUNNING else "-"


def record(name: str, run: Run) -> dict[str, Any]:
    """Return a run as it is written in JSON; instants in RFC 3339, spans in seconds."""
    from coordkit._core.ticks import shown

    return {
        "name": name,
        "tick": shown(run.tick),
        "state": run.state.value,
        "exit": run.code,
        "attempt": run.attempt,
        "identity": run.identity,
        "token": run.token,
        "since": shown(run.since),
        "ended": None if run.ended is None else shown(run.ended),
        "lasted": run.lasted,
        "schedule": run.spec,
    }


def facts(passed: Passed) -> dict[str, Any]:
    """Return why a tick is not run by us, for programs."""
    from coordkit._core.ticks import shown

    by = None if passed.run is None else passed.run.identity
    return {"why": passed.why.value, "tick": shown(passed.tick), "by": by}


def why(passed: Passed) -> str:
    """Say why a tick is not run by us."""
    from coordkit._core.cron import Why
    from coordkit._core.ticks import shown

    tick, run = shown(passed.tick), passed.run
    by = "somebody else" if run is None else run.identity
    match passed.why:
        case Why.DONE if run is not None and run.tick != passed.tick:
            return f"skipped: a later tick than {tick} was run by {by}"
        case Why.DONE if run is not None:
            return f"skipped: the tick of {tick} was run by {by} ({result(run)})"
        case Why.RUNNING:
            return f"skipped: the tick of {tick} is being run by {by}"
        case Why.OVERLAP if run is None:
            return f"skipped: {tick}, for the lock is held for something else"
        case Why.OVERLAP if run is not None:
            earlier = shown(run.tick)
            return f"skipped: {tick}, for {by} still runs the tick of {earlier}"
        case Why.GIVEN_UP if run is not None:
            return f"skipped: the tick of {tick} has failed {run.attempt} times"
        case Why.SUPERSEDED:
            return "skipped: while it waited the next tick's turn has come"
        case _:
            return (
                f"skipped: {tick}, for the server's clock was set back farther than "
                "runs are remembered"
            )
