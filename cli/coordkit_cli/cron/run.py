"""`coordkit cron run`: a command that one host runs a tick."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from .._duration import DURATION
from .._exit import Exit, Failure, Interrupted
from .._options import common
from .._run import How, Runner, give_back, guarded, run_options
from .._settings import Settings
from ._name import NAME, of
from ._told import facts, why

if TYPE_CHECKING:
    from coordkit import Lease, Session
    from coordkit._core.cron import Begun, Plan
    from coordkit._core.ops import Op
    from coordkit._core.ticks import Ticks

    from .._guard import Guard


class CronRunner(Runner):
    """
    A `Runner` whose options may stand behind NAME, too, where a ``--`` ends them.

    ``nightly --every 1d -- ./backup`` can mean only one thing: so it is taken.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args*, those between NAME and ``--`` first."""
        found: Mapping[str, Any] = self.make_parser(ctx).parse_args(list(args))[0]
        given = found["words"]  # what is not there is no tuple
        words = cast("tuple[str, ...]", given) if isinstance(given, tuple) else ()
        if (
            words
            and words[0].startswith("-")
            and "--" in words[1:]
            and words[0] != "--"
        ):
            cut = words.index("--")
            *before, name = args[: len(args) - len(words)]
            between: Mapping[str, Any] = self.make_parser(ctx).parse_args(
                list(words[:cut])
            )[0]
            if not isinstance(between["name"], str):  # nothing but options
                args = [*before, *words[:cut], name, *words[cut:]]
        return super().parse_args(ctx, args)


_UNTIL_SUCCESS = re.compile(r"until-success:([1-9][0-9]{0,3})")


class Attempts(click.ParamType[int]):
    """How often a tick may be tried."""

    name = "once|until-success:N"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return how often at most; once is 1."""
        if value == "once":
            return 1
        found = _UNTIL_SUCCESS.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is neither once nor until-success:3", param, ctx)
        return int(found[1])


class When(NamedTuple):
    """When it is to be run, as the options say it.  Times in seconds."""

    every: float | None
    schedule: str | None
    tz: str | None
    early: float | None
    overlap: str
    attempts: int
    splay: float

    def plan(self) -> Plan:
        """Return what it means; bad values are refused before anything is done."""
        from coordkit._core.cron import Overlap, Plan

        splay = self.splay * random.random()
        return Plan(self._ticks(), Overlap(self.overlap), self.attempts, splay)

    def _ticks(self) -> Ticks:
        from coordkit._core.ticks import Every, Schedule

        if (self.every is None) == (self.schedule is None):
            raise click.UsageError("say when: --every 1h or --schedule '*/15 * * * *'")
        try:
            if self.every is not None:
                if self.tz is not None:
                    raise click.UsageError("--tz is for --schedule")
                return Every(self.every, self.early)
            return Schedule(self.schedule or "", self.tz or "UTC", self.early)
        except ImportError:
            raise Failure(
                "--schedule needs the package cronsim; type: pip install "
                "'coordkit[cron]', or say --every",
                Exit.CONFIG,
            ) from None
        except ValueError as error:
            raise click.UsageError(str(error)) from None


_OPTIONS = (
    click.option(
        "--every",
        type=DURATION,
        metavar="DUR",
        help="Once in so long a time, counted from the first run ever.",
    ),
    click.option(
        "--schedule",
        metavar="CRON",
        help="At the instants of a cron expression of five fields, or @hourly, @daily …",
    ),
    click.option(
        "--tz",
        metavar="ZONE",
        help="The time zone of the schedule, such as Europe/Berlin.  [default: UTC]",
    ),
    click.option(
        "--early",
        type=DURATION,
        metavar="DUR",
        help="Who asks no more than so long before a tick asks for that tick: how far "
        "clocks of hosts may be ahead.  [default: 30s; with --every a third of it]",
    ),
    click.option(
        "--overlap",
        type=click.Choice(["skip", "wait", "replace"]),
        default="skip",
        help="While an earlier tick is still run: skip this one, wait, or ask it to "
        "end.  [default: skip]",
    ),
    click.option(
        "--attempts",
        type=Attempts(),
        default="once",
        metavar="once|until-success:N",
        help="How often a tick may be tried: whoever asks after a failure, as long as "
        "it is its turn, tries again.  [default: once]",
    ),
    click.option(
        "--splay",
        type=DURATION,
        default=0.0,
        metavar="DUR",
        help="Wait for a random while up to this before asking to run.",
    ),
)


def _when_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say when; *function* gets them as ``when``."""

    @wraps(function)
    def gathered(*args: Any, **options: Any) -> Any:
        when = When(**{name: options.pop(name) for name in When._fields})
        return function(*args, when=when, **options)

    command: Callable[..., Any] = gathered
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(cls=CronRunner)
@common()
@_when_options
@click.argument("name", type=NAME, help="What is run: the same on all hosts.")
@run_options()
@click.pass_obj
def run(settings: Settings, name: str, when: When, how: How) -> None:
    """
    Run COMMAND, unless another host runs it for this tick, or has.

    Put the same line into the crontabs of several hosts: each tick is run by one of
    them, at most once. What a tick is goes by the clock of the Redis server; that of a
    host only decides when it asks. Not to be needed is no failure: exit code 0.

    The command is guarded as by `lock run`, under the lock cron:NAME. Its environment
    tells it COORDKIT_TICK and COORDKIT_FENCING_TOKEN.
    """
    plan = when.plan()
    if how.explain:
        _explain(settings, name, how)
        return
    namespace = settings.namespace.value
    with guarded(settings, how, name=name, namespace=namespace) as (guard, session):
        begun = _begun(session, name, plan, how, guard)
        if begun is None:
            raise click.exceptions.Exit(Exit.OK)
        code: int = Exit.BUG
        try:
            code = _run(session, name, begun, guard)
        except (Failure, Interrupted) as ended:
            code = ended.code
            raise
        finally:
            _write_end(session, name, begun, guard, code)
            give_back(guard, begun.lease, begun.lease.release)
        raise click.exceptions.Exit(code)


def _begun(
    session: Session, name: str, plan: Plan, how: How, guard: Guard
) -> Begun[Lease] | None:
    """Ask for the tick; None when we are not needed."""
    from coordkit._core import lock
    from coordkit._core.cron import Passed

    engine, cron = session._engine, of(session, name)
    its = session.lock(cron.lock, ttl=how.ttl)

    def acquire(wait: float) -> Op[Lease | None]:
        claim = its._asked()
        return engine.acquiring(
            claim, engine.rid(claim), its._lease, timeout=wait, queue=True
        )

    def release(lease: Lease) -> Op[None]:
        engine.keeper.drop(lease)
        return lock.release(lease)

    patience = how.ttl + 1.0  # by then who has died has lost the lock
    ask = cron.start(plan, session.identity, acquire, release, patience=patience)
    with guard.interruptible():
        answer = engine.run(ask)
    if not isinstance(answer, Passed):
        return answer
    guard.events.tell("skipped", **facts(answer))
    # That others do the work is as it should be; the rest is for the mail of cron.
    guard.events.say(why(answer), level=1 if answer.usual else 0)
    return None


def _run(session: Session, name: str, begun: Begun[Lease], guard: Guard) -> int:
    """Run the command under its lease; return its exit code, or ours."""
    from coordkit._core.ticks import shown

    tick = shown(begun.tick)
    guard.events.tell(
        "acquired",
        token=begun.lease.token,
        identity=session.identity,
        tick=tick,
        attempt=begun.attempt,
    )
    if begun.before is not None:
        guard.events.say(f"at the last run the schedule was {begun.before}", level=1)
    outcome = guard.run(
        begun.lease,
        {
            "COORDKIT_CRON": name,
            "COORDKIT_TICK": tick,
            "COORDKIT_LOCK": begun.lease.name,
            "COORDKIT_IDENTITY": session.identity,
            "COORDKIT_NAMESPACE": session.namespace,
        },
    )
    return outcome.code


def _write_end(
    session: Session, name: str, begun: Begun[Lease], guard: Guard, code: int
) -> None:
    """Write the end of a run down, before the lock passes on."""
    from coordkit import CoordError

    patience = max(2.0, begun.lease.remaining())
    try:
        known = session._engine.run(
            of(session, name).end(begun.lease.holder, code, patience=patience)
        )
    except CoordError as problem:
        guard.events.say(f"its end could not be written down: {problem}")
    else:
        if not known:
            guard.events.say(
                "its end was not written down: the server knows no such run"
            )


def _explain(settings: Settings, name: str, how: How) -> None:
    from coordkit._core.cron import cron

    from .._explain import explain

    its = cron(settings.namespace.value, name, 0.0)
    explain(settings, how, name, {"lock": its.lock_key, "runs": its.runs})
