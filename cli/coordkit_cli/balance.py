"""`coordkit balance`: pick a live member of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._exit import Exit, Failure, sensible
from ._options import Lazy, common
from ._output import data, json_line, json_text, printable
from ._settings import Settings
from .group._name import NAME

if TYPE_CHECKING:
    from coordkit import MemberInfo
    from coordkit._core.balance import Strategy

COMMANDS = {"pick": (".balance:pick", "Show a live member of a group.")}
#: As the library has them; to ask it would import it, for ``--help`` too.
STRATEGIES = (
    *("random", "round_robin", "weighted", "least_loaded", "two_choices", "ring"),
)


@click.group(cls=Lazy, package=__package__, where=COMMANDS)
def balance() -> None:
    """Balancers: pick a live member of a group."""


@click.command()
@common()
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="two_choices",
    show_default=True,
    help="random: by weight. round_robin: in turns that all clients share. weighted: an "
    "even sequence by weight, which each process begins anywhere. least_loaded: by what "
    "members report. two_choices: the less loaded of two. ring: the same for the same "
    "--key.",
)
@click.option("--key", metavar="KEY", help="Whose member; for the strategy ring.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="IDENTITY",
    help="Not this one, as it was tried in vain; may be repeated.",
)
@click.option(
    "--show",
    metavar="FIELD",
    help="Show this of its meta, as an address, in place of its identity.",
)
@click.argument("group", type=NAME, help="The group.")
@click.pass_obj
def pick(
    settings: Settings,
    group: str,
    strategy: Strategy,
    key: str | None,
    exclude: tuple[str, ...],
    show: str | None,
) -> None:
    """
    Show a live member of GROUP: one that is neither draining nor excluded.

    One that was silent for longer than chance allows is picked only if there is nobody
    else. Exit code 1 when nobody can be picked.
    """
    if (strategy == "ring") is (key is None):
        needs = "needs a --key" if key is None else "takes no --key: only ring does"
        raise Failure(f"the strategy {strategy} {needs}", Exit.USAGE)
    with settings.session() as session, sensible():
        asked = None if key is None else key.encode("utf-8", "surrogateescape")
        member = session.balancer(group, strategy=strategy).pick(asked, exclude=exclude)
    if settings.as_json:
        data(json_line(_record(group, member)))
    elif show is None:
        data(printable(member.identity))
    else:
        data(printable(_field(member, show)))


def _field(member: MemberInfo, field: str) -> str:
    if field not in member.meta:
        known = ", ".join(member.meta) or "nothing"
        raise Failure(
            printable(f"{member.identity} does not tell {field!r}, but {known}"),
            Exit.NO,
        )
    value = member.meta[field]
    return value if isinstance(value, str) else json_text(value)


def _record(group: str, member: MemberInfo) -> dict[str, Any]:
    return {
        "group": group,
        "identity": member.identity,
        "token": member.token,
        "since": member.since,
        "weight": member.weight,
        "capacity": member.capacity,
        "load": member.load,
        "zone": member.zone,
        "meta": member.meta,
        "expires_in": member.expires_in,
        "suspicion": member.suspicion,
    }
