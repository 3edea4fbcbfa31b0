"""`coordkit ring`: which node has which key, and how that changes."""

from __future__ import annotations

import click

from .._options import Lazy

COMMANDS = {
    "create": (".change:create", "Make a ring, without nodes."),
    "add": (".change:add", "Add nodes, all in one change."),
    "remove": (".change:remove", "Remove nodes, all in one change."),
    "reweight": (".change:reweight", "Change the weight of a node."),
    "delete": (".change:delete", "Delete a ring with all that is assigned."),
    "list": (".look:list_", "List the rings."),
    "nodes": (".look:nodes", "List the nodes of a ring, and what they have."),
    "owner": (".owner:owner", "Show the node of each key."),
    "stats": (".look:stats", "Show how even a ring is."),
    "plot": (".plot:plot", "Draw what each node has."),
    "plan": (".plans:plan", "Show what a change would move."),
    "apply": (".plans:apply", "Make a change, at once or in steps."),
    "diff": (".look:diff", "Show what has changed between two versions."),
    "watch": (".watch:watch", "Show every change as it happens."),
    "verify": (".look:verify", "Check whether a ring fits together."),
    "export": (".carry:export", "Write a ring as a document."),
    "import": (".carry:import_", "Make a ring from a document."),
    "simulate": (".simulate:simulate", "Try a ring that there is not; needs no Redis."),
}


@click.group(cls=Lazy, package=__name__, where=COMMANDS)
def ring() -> None:
    """Rings: which node has which key, what a change would move, and moving it."""
