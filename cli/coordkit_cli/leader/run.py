"""`coordkit leader run`: a command that runs where one leads, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .._duration import DURATION
from .._meta import meta_option
from .._name import IDENTITY
from .._options import common
from .._output import printable
from .._run import How, Runner, guarded, run_options
from .._settings import Settings
from ._name import NAME

if TYPE_CHECKING:
    from coordkit import Election, Session
    from coordkit._core.election import Standing

    from .._guard import Guard
    from ._health import Health
    from ._hooks import Hooks
    from ._lead import Lead

#: An election's: its leader is missed sooner than the holder of a lock.
DEFAULT_TTL = 15.0
#: A leader that could not renew for so long has lost its term: all of the ttl but this,
#: for its command is ended within the lease by its guard.
LEAST_GAP = 0.001


class Addr(click.ParamType[tuple[str, int]]):
    """Where to listen: PORT of this machine alone, or HOST:PORT."""

    name = "address"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        """Return host and port."""
        host, _, port = str(value).rpartition(":")
        if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the last one
            self.fail(
                f"{value!r} is no address: write 8080, 10.0.0.7:8080, [::1]:8080, or "
                "0.0.0.0:8080 for every address of this machine",
                param,
                ctx,
            )
        return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


class Hook(click.ParamType[tuple[str, str]]):
    """An event, and what the shell runs then."""

    name = "hook"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return the event and the script."""
        event, _, script = str(value).partition("=")
        if event not in ("elected", "lost") or not script.strip():
            self.fail(f"{value!r}: write elected=COMMAND or lost=COMMAND", param, ctx)
        return event, script


class Stand(NamedTuple):
    """How to stand for election, and what is done beside, as the options say it."""

    on_exit: str
    on_lost: str
    priority: int
    preempt: bool
    meta: tuple[tuple[str, str], ...]
    identity: str | None
    health_cmd: str | None
    health_every: float
    health_fails: int
    hook: tuple[tuple[str, str], ...]
    http: tuple[str, int] | None

    def standing(self) -> Standing:
        """Return how to stand; bad values are refused before anything is done."""
        from coordkit._core.election import standing

        try:
            return standing(self.priority, dict(self.meta), preempt=self.preempt)
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None

    def health(self, guard: Guard) -> Health:
        """Return the health of this candidate."""
        from ._health import Health

        environ = guard.command.environ
        every, fails = self.health_every, self.health_fails
        return Health(self.health_cmd, every, fails, environ, guard.signals.wake)

    def hooks(self, guard: Guard, **facts: str) -> Hooks:
        """Return what is run when something happens; *facts* go into its environment."""
        from ._hooks import Hooks

        environ = {**guard.command.environ, **facts}
        return Hooks(self.hook, environ, guard.events.say)


_OPTIONS = (
    click.option(
        "--on-exit",
        type=click.Choice(["resign-exit", "restart"]),
        default="resign-exit",
        help="When the command ends by itself: resign and exit with its code, or run it "
        "again, in the same term.  [default: resign-exit]",
    ),
    click.option(
        "--on-lost",
        type=click.Choice(["requeue", "exit"]),
        default="requeue",
        help="When the command was stopped because the term has ended: stand again, or "
        "exit with 76.  [default: requeue]",
    ),
    click.option(
        "--priority",
        type=click.IntRange(-100, 100),
        default=0,
        metavar="N",
        help="Of those who wait, the highest is elected; among equals, who came first.  "
        "[default: 0]",
    ),
    click.option(
        "--preempt", is_flag=True, help="Ask a leader of lower priority to resign."
    ),
    meta_option,
    click.option(
        "--identity",
        type=IDENTITY,
        metavar="ID",
        help="What to be called.  [default: host, process id, and six random digits]",
    ),
    click.option(
        "--health-cmd",
        metavar="STRING",
        help="Run STRING by /bin/sh now and then: who fails at it does not stand, and "
        "resigns.",
    ),
    click.option(
        "--health-every",
        type=DURATION,
        default=5.0,
        metavar="DUR",
        help="How often, and how long it may take.  [default: 5s]",
    ),
    click.option(
        "--health-fails",
        type=click.IntRange(1, 1000),
        default=3,
        metavar="N",
        help="So many failures in a row are one.  [default: 3]",
    ),
    click.option(
        "--hook",
        type=Hook(),
        multiple=True,
        metavar="EVENT=STRING",
        help="Have /bin/sh run STRING beside the command when it was elected, or when its "
        "term is over (lost); may be repeated.",
    ),
    click.option(
        "--http",
        type=Addr(),
        metavar="[HOST:]PORT",
        help="Answer GET /leader with 200 while leading, else 503; and /healthz, "
        "/metrics.  Without HOST for this machine alone.",
    ),
)


def stand_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options; *function* gets them as ``stand``."""

    @wraps(function)
    def gathered(*args: Any, **options: Any) -> Any:
        stand = Stand(**{name: options.pop(name) for name in Stand._fields})
        if stand.health_every <= 0:
            raise click.UsageError("--health-every 0s leaves no time to look")
        return function(*args, stand=stand, **options)

    command: Callable[..., Any] = gathered
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(cls=Runner)
@common()
@stand_options
@click.argument("name", type=NAME, help="The election.")
@run_options(
    ttl=DEFAULT_TTL,
    crash="after a crash of this machine nobody leads for so long",
    on_lost=False,
)
@click.pass_obj
def run(settings: Settings, name: str, stand: Stand, how: How) -> None:
    """
    Run COMMAND while leading NAME; stop it before anybody else may lead.

    Of all that run the same line, one is elected and runs COMMAND; the others wait. When
    its term is lost, COMMAND is ended first, as by `lock run`, and it stands again. An
    outage of Redis is ridden out by who waits. Its environment tells COMMAND the term,
    COORDKIT_TERM, which is its COORDKIT_FENCING_TOKEN as well.
    """
    standing = stand.standing()
    if how.explain:
        _explain(settings, name, how)
        return
    namespace = settings.namespace.value
    facts = {"name": name, "namespace": namespace}
    with (
        guarded(settings, how, identity=stand.identity, **facts) as (guard, session),
        ExitStack() as stack,
    ):
        lead = _lead(stack, session, _election(session, name, how), stand, guard)
        code = lead.again_and_again(standing)
        raise click.exceptions.Exit(code)


def _election(session: Session, name: str, how: How) -> Election:
    """Return the election; 64 if its ttl cannot be one."""
    return session.election(name, ttl=how.ttl, renew_deadline=how.ttl - LEAST_GAP)


def _lead(
    stack: ExitStack, session: Session, election: Election, stand: Stand, guard: Guard
) -> Lead:
    """Return who leads, with all that is beside it: to be ended by *stack*."""
    from ._lead import Lead, Seen

    told = {
        "COORDKIT_ELECTION": election.name,
        "COORDKIT_IDENTITY": session.identity,
        "COORDKIT_NAMESPACE": session.namespace,
    }
    health = stack.enter_context(stand.health(guard))
    seen = Seen(election.name, session.identity, session.namespace, health)
    if stand.http is not None:
        from ._http import Page

        page = stack.enter_context(Page(stand.http, seen))
        guard.events.tell("listening", http=page.url)
        guard.events.say(f"listening at {page.url}", level=1)
    hooks = stack.enter_context(stand.hooks(guard, **told))
    return Lead(
        guard,
        session,
        election,
        seen,
        hooks,
        told,
        restarts=stand.on_exit == "restart",
        requeues=stand.on_lost == "requeue",
    )


def _explain(settings: Settings, name: str, how: How) -> None:
    from coordkit._core.keys import election_keys, history_key

    from .._explain import explain

    namespace = settings.namespace.value
    keys = election_keys(namespace, name)
    kinds = ("lock", "queue", "alive", "waiters", "fence", "index")
    shown = {kind: getattr(keys, kind) for kind in kinds}
    explain(settings, how, name, {**shown, "history": history_key(namespace, name)})
