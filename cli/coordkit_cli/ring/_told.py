"""How rings, their changes and what moves are told, in text and in JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._output import data, json_line, printable

if TYPE_CHECKING:
    from coordkit import Move, NodeShare, RingChange, RingInfo, RingStats
    from coordkit.plan import Plan

#: Of many flows between nodes, so many are listed.
MOST_FLOWS = 20


def percent(share: float, digits: int = 2) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.{digits}f} %"


# -- one thing, in a line -----------------------------------------------------------


def what(change: RingChange) -> str:
    """Return which nodes a change is about: ``+a -b ~c``."""
    signs = (("+", change.added), ("-", change.removed), ("~", change.reweighted))
    words = [sign + node for sign, nodes in signs for node in nodes]
    return " ".join(words) or ("created" if change.version == 1 else "moved on")


def change_line(change: RingChange, slots: int) -> str:
    """Return a change in one line."""
    moved = f"{change.moved} slots ({percent(change.moved / slots)}) moved"
    return f"version {change.version}: {what(change)}, {moved}"


def change_record(change: RingChange) -> dict[str, Any]:
    """Return a change as it is written in JSON; *moved* counts slots."""
    return {
        "version": change.version,
        "at": change.at,
        "by": change.by,
        "added": change.added,
        "removed": change.removed,
        "reweighted": change.reweighted,
        "moved": change.moved,
    }


def info_record(info: RingInfo) -> dict[str, Any]:
    """Return what a ring is as it is written in JSON; version 0: there is none."""
    return {
        "name": info.name,
        "version": info.version,
        "slots": info.slots,
        "mode": info.mode,
        "replicas": info.replicas,
        "nodes": info.nodes,
    }


# -- what moves ---------------------------------------------------------------------


def flows(moves: Iterable[Move]) -> Counter[tuple[str, str]]:
    """Return how many slots go from where to where."""
    found: Counter[tuple[str, str]] = Counter()
    for move in moves:
        found[move.source, move.target] += move.slots
    return found


def flow_rows(moves: Iterable[Move], slots: int) -> list[Sequence[str]]:
    """Return a row for each flow, the largest first."""
    found = flows(moves).most_common()
    rows: list[Sequence[str]] = [
        (source, "->", target, f"{count} slots", percent(count / slots))
        for (source, target), count in found[:MOST_FLOWS]
    ]
    rest = found[MOST_FLOWS:]
    if rest:
        left = sum(count for _, count in rest)
        rows.append(
            (f"and {len(rest)} more", "", "", f"{left} slots", percent(left / slots))
        )
    return rows


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is written in JSON."""
    return {
        "version": plan.version,
        "moved": plan.moved,
        "ideal": plan.ideal,
        "moves": [list(move) for move in plan.moves],
        "before": stats_record(plan.before),
        "after": stats_record(plan.after),
    }


# -- how even it is -------------------------------------------------------------------


def stats_record(stats: RingStats) -> dict[str, Any]:
    """Return statistics as they are written in JSON."""
    return {
        "version": stats.version,
        "slots": stats.slots,
        "arcs": stats.arcs,
        "replicas": stats.replicas,
        "max_over_mean": stats.max_over_mean,
        "min_over_mean": stats.min_over_mean,
        "cv": stats.cv,
        "zones": stats.zones,
        "warnings": stats.warnings,
        "nodes": [share_record(share) for share in stats.nodes],
    }


def share_record(share: NodeShare) -> dict[str, Any]:
    """Return what a node has as it is written in JSON."""
    return {
        "name": share.name,
        "weight": share.weight,
        "zone": share.zone,
        "state": share.state,
        "slots": share.slots,
        "share": share.share,
        "ideal": share.ideal,
        "load": share.load,
        "copies": share.copies,
    }


def balance(stats: RingStats) -> str:
    """Return in a few words how even a ring is."""
    return f"max/mean {stats.max_over_mean:.4f}, cv {percent(stats.cv)}"


def say(change: RingChange, slots: int, *, as_json: bool, quiet: bool) -> None:
    """Tell a change that was made."""
    if as_json:
        data(json_line(change_record(change)))
    elif not quiet:
        data(printable(change_line(change, slots)))
