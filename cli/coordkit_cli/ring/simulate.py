"""`coordkit ring simulate`: how even a ring would be, and what changes would move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .._exit import Exit, Failure, sensible
from .._options import common
from .._output import data, json_line, printable, table
from .._settings import Settings
from ._told import balance, percent

if TYPE_CHECKING:
    from coordkit._core.ring_snapshot import Snapshot

MOST_NODES = 10_000


class Trial(NamedTuple):
    """One change of one ring that there is not."""

    mode: str
    change: str
    moved: float
    ideal: float
    max_over_mean: float
    cv: float


@click.command()
@common()
@click.option(
    "--nodes",
    type=click.IntRange(1, MOST_NODES),
    default=10,
    metavar="N",
    help="How many nodes.  [default: 10]",
)
@click.option(
    "--weights",
    default="1",
    metavar="W,W,...",
    help="Their weights, in turns.  [default: 1]",
)
@click.option(
    "--slots",
    type=int,
    default=16_384,
    metavar="N",
    help="How many slots.  [default: 16384]",
)
@click.option(
    "--zones",
    type=click.IntRange(1),
    metavar="N",
    help="Put the nodes into so many zones, in turns.",
)
@click.option(
    "--replicas",
    type=int,
    default=1,
    metavar="N",
    help="How many nodes of each key are looked at.  [default: 1]",
)
@click.option(
    "--add",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Try so many nodes more.  [default: 1]",
)
@click.option(
    "--remove",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Try so many nodes fewer.  [default: 1]",
)
@click.pass_obj
def simulate(settings: Settings, /, **shape: Any) -> None:
    """
    Try a ring that there is not: how even it would be, and what changes would move.

    It needs no Redis. Both modes are tried: balanced, where shares are exact, and
    hashed, as rings are made elsewhere.
    """
    with sensible():
        found = [_tried(mode, **shape) for mode in ("balanced", "hashed")]
    if settings.as_json:
        for ring, trials in found:
            for trial in trials:
                data(json_line(trial._asdict() | {"nodes": len(ring.nodes)}))
        return
    for ring, trials in found:
        _show(ring, trials)


def _tried(
    mode: str,
    nodes: int,
    weights: str,
    slots: int,
    zones: int | None,
    replicas: int,
    add: int,
    remove: int,
) -> tuple[Snapshot, list[Trial]]:
    """Return a ring, and what three changes of it would do."""
    from coordkit import Node
    from coordkit._core.ring import shape
    from coordkit._core.ring_change import draft, wanted
    from coordkit._core.ring_snapshot import empty

    given = _weights(weights)

    def several(first: int, number: int) -> list[Node]:
        return [
            Node(
                f"node-{n:05}",
                given[n % len(given)],
                "" if zones is None else f"zone-{n % zones}",
            )
            for n in range(first, first + number)
        ]

    form = shape(slots, mode, replicas)
    first = draft(empty("simulated", "", *form), wanted(add=several(0, nodes)))
    ring = first.new
    names = [node.name for node in ring.nodes]
    trials = [_trial(mode, "as it is", first)]
    changes = {
        f"+{add}": wanted(add=several(nodes, add)),
        f"{names[0]} twice the weight": wanted(
            reweight={names[0]: 2 * ring.nodes[0].weight}
        ),
    }
    if remove < nodes:
        changes[f"-{remove}"] = wanted(remove=names[:remove])
    trials += [_trial(mode, what, draft(ring, it)) for what, it in changes.items()]
    return ring, trials


def _trial(mode: str, change: str, made: Any) -> Trial:
    from coordkit._core.ring_stats import stats

    found = stats(made.new)
    moved = sum(move.slots for move in made.moves) / made.new.slots
    return Trial(mode, change, moved, made.ideal(), found.max_over_mean, found.cv)


def _weights(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise Failure(
            f"--weights {text!r}: write numbers with commas between them", Exit.USAGE
        ) from None


def _show(ring: Snapshot, trials: list[Trial]) -> None:
    from coordkit._core.ring_stats import stats

    found = stats(ring)
    data(f"{ring.mode}: {len(ring.nodes)} nodes, {ring.slots} slots, {balance(found)}")
    for warning in found.warnings:
        data(f"  warning: {printable(warning)}")
    table(
        ("  CHANGE", "MOVED", "AT LEAST", "TIMES", "MAX/MEAN THEN"),
        list(_rows(trials[1:])),
    )


def _rows(trials: list[Trial]) -> Iterator[tuple[str, ...]]:
    for trial in trials:
        times = f"{trial.moved / trial.ideal:.3f}" if trial.ideal else "-"
        yield (
            f"  {trial.change}",
            percent(trial.moved),
            percent(trial.ideal),
            times,
            f"{trial.max_over_mean:.4f}",
        )
