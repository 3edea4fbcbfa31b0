"""`coordkit ring create`, `add`, `remove`, `reweight` and `delete`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .._exit import Exit, Failure, sensible
from .._meta import meta_option
from .._options import common
from .._output import data, json_line, printable
from .._question import agreed
from .._settings import Settings
from ._name import NAME
from ._told import say

if TYPE_CHECKING:
    from coordkit import Ring, RingChange


def _make(settings: Settings, name: str, change: Callable[[Ring], RingChange]) -> None:
    """Make one change, and tell it."""
    with settings.session() as session:
        ring = session.ring(name)
        with sensible():
            made = change(ring)
        info = ring.info()
    slots = info.slots if info is not None else 1
    say(made, slots, as_json=settings.as_json, quiet=settings.quiet)


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.option(
    "--slots",
    type=int,
    default=16_384,
    metavar="N",
    help="A power of two, 2^10 to 2^20: more slots make shares finer.  [default: 16384]",
)
@click.option(
    "--mode",
    type=click.Choice(["balanced", "hashed"]),
    default="balanced",
    help="balanced: exact shares. hashed: 160 points a node, from its name alone, for "
    "a ring that can be derived again without its data.  [default: balanced]",
)
@click.option(
    "--replicas",
    type=int,
    default=1,
    metavar="N",
    help="How long a preference list is, if one does not say.  [default: 1]",
)
@click.pass_obj
def create(settings: Settings, name: str, slots: int, mode: str, replicas: int) -> None:
    """
    Make the ring NAME, without nodes.

    A ring that is not created is made by the first `coordkit ring add`.
    """
    _make(
        settings,
        name,
        lambda ring: ring.create(slots=slots, mode=mode, replicas=replicas),
    )


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True, help="Who comes.")
@click.option(
    "--weight", type=float, default=1.0, metavar="W", help="Of each.  [default: 1]"
)
@click.option("--zone", default="", metavar="ZONE", help="What fails together with it.")
@click.option(
    "--capacity",
    type=int,
    metavar="N",
    help="How many keys it can have assigned at most.",
)
@meta_option
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    nodes: tuple[str, ...],
    weight: float,
    zone: str,
    capacity: int | None,
    meta: tuple[tuple[str, str], ...],
) -> None:
    """
    Add nodes to the ring NAME, all in one change.

    They take what they should have, and nothing else moves.
    """
    from coordkit import Node

    known = dict(meta)
    several = [Node(node, weight, zone, capacity, known) for node in nodes]
    _make(settings, name, lambda ring: ring.add(several))


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True, help="Who goes.")
@click.pass_obj
def remove(settings: Settings, name: str, nodes: tuple[str, ...]) -> None:
    """
    Remove nodes from the ring NAME, all in one change.

    What they have is spread over all others, and nothing else moves.
    """
    _make(settings, name, lambda ring: ring.remove(*nodes))


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument("node", help="Which node.")
@click.argument("weight", type=float, help="Its new weight.")
@click.pass_obj
def reweight(settings: Settings, name: str, node: str, weight: float) -> None:
    """Change the weight of one node of the ring NAME."""
    _make(settings, name, lambda ring: ring.reweight(node, weight))


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(settings: Settings, name: str, yes: bool) -> None:
    """
    Delete the ring NAME with all that is assigned; exit code 1 when there is none.

    Where keys are can then be told by nobody: `coordkit ring export` keeps it. Asks
    first; where there is no terminal it needs --yes.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure("nobody is here to be asked: add --yes", Exit.USAGE)
    with settings.session() as session:
        ring = session.ring(name)
        info = ring.info()
        if info is not None and not yes:
            question = f"{printable(name)} has {info.nodes} nodes; delete it?"
            if not agreed(question):
                raise Failure("nothing was done", Exit.NO)
        deleted = ring.delete()
    if settings.as_json:
        data(json_line({"name": name, "deleted": deleted}))
    elif not settings.quiet:
        data(f"{printable(name)} {'is deleted' if deleted else 'does not exist'}")
    if not deleted:
        raise click.exceptions.Exit(Exit.NO)
