"""`coordkit group join`: a member for as long as a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .._exit import Exit, Failure
from .._meta import meta_option
from .._name import IDENTITY
from .._options import common
from .._output import printable
from .._run import How, Runner, give_back, guarded, run_options
from .._settings import Settings
from ._name import NAME

if TYPE_CHECKING:
    from coordkit import Member, Session

#: A group's: after a crash its members are listed for so long.
DEFAULT_TTL = 10.0
#: Whose command runs on has all the time it wants to end, whatever the ttl is: that of
#: the guard is long enough for any, and nothing happens when the lease runs out.
_LONG = 7 * 86_400.0
_UNENDED: dict[str, Any] = {"on_lost": (0, False), "kill_after": None}


@click.command(cls=Runner)
@common()
@click.option(
    "--on-lost",
    type=click.Choice(["rejoin", "stop"]),
    default="rejoin",
    help="When it was silent for too long, and is listed no more: let the command run on "
    "and join again, or stop it (exit code 76).  [default: rejoin]",
)
@click.option(
    "--identity",
    type=IDENTITY,
    metavar="ID",
    help="What to be called.  [default: host, process id, and six random digits]",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Take the place of a member of that identity; else exit code 75.",
)
@click.option(
    "--weight",
    type=float,
    default=1.0,
    metavar="W",
    help="For whoever chooses among members.  [default: 1]",
)
@click.option(
    "--capacity", type=float, metavar="N", help="How much load it can take at most."
)
@click.option(
    "--load", type=float, default=0.0, metavar="N", help="How busy it is.  [default: 0]"
)
@click.option("--zone", default="", metavar="ZONE", help="What fails together with it.")
@meta_option
@click.argument("name", type=NAME, help="The group.")
@run_options(
    ttl=DEFAULT_TTL,
    crash="after a crash of this machine it is listed for so long",
    on_lost=False,
)
@click.pass_obj
def join(
    settings: Settings,
    /,
    name: str,
    how: How,
    on_lost: str,
    identity: str | None,
    meta: tuple[tuple[str, str], ...],
    **said: Any,
) -> None:
    """
    Be a member of the group NAME while COMMAND runs, and pass its exit code on.

    A group is a list and excludes nobody: when Redis is away for a while, COMMAND runs
    on, and is listed again afterwards. When this program is killed, COMMAND is ended, as
    by `lock run`. Its environment tells it COORDKIT_GROUP and COORDKIT_IDENTITY.
    """
    rejoins = on_lost == "rejoin"
    record = {**said, "meta": dict(meta), "rejoin": rejoins}
    namespace = settings.namespace.value
    if how.explain:
        _explain(settings, name, how._replace(**_UNENDED) if rejoins else how)
        return
    facts = {"name": name, "namespace": namespace}
    guards = how._replace(ttl=_LONG) if rejoins else how
    with guarded(settings, guards, identity=identity, **facts) as (guard, session):
        with guard.interruptible():
            member = _joined(session, name, how.ttl, record)
        guard.events.tell("joined", identity=member.identity, token=member.token)
        told = {
            "COORDKIT_GROUP": name,
            "COORDKIT_IDENTITY": member.identity,
            "COORDKIT_NAMESPACE": namespace,
        }
        if rejoins:
            from ._listed import Listed

            listed = Listed(member, guard.events)
            outcome = guard.run(listed, told, listed.look)
        else:
            outcome = guard.run(member, told)
        give_back(guard, member, member.leave)
        raise click.exceptions.Exit(outcome.code)


def _joined(session: Session, name: str, ttl: float, record: dict[str, Any]) -> Member:
    """Join; 64 if a value cannot be, 75 if another has the identity."""
    from coordkit import KeyConflict

    try:
        group = session.group(name, ttl=ttl)
        return group.join(**record)
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from None
    except KeyConflict:
        if (other := session.group(name).members().get(session.identity)) is None:
            raise
        raise Failure(
            f"{other.identity!r} is a member of {name!r} already: choose another "
            "--identity, or say --replace",
            Exit.NOT_ACQUIRED,
        ) from None


def _explain(settings: Settings, name: str, how: How) -> None:
    from coordkit._core.keys import group_keys

    from .._explain import explain

    keys = group_keys(settings.namespace.value, name)
    kinds = ("group", "alive", "log", "index", "fence")
    shown = {kind: getattr(keys, kind) for kind in kinds}
    explain(settings, how, name, shown, "it is listed no more")
