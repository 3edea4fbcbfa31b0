"""`coordkit ring plot`: who has how much, in the terminal or as a picture."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .._exit import Exit, Failure
from .._options import common
from .._output import aligned, data, printable
from .._settings import Settings
from ._name import NAME
from ._told import balance, percent
from .plans import changes, made_up

if TYPE_CHECKING:
    from coordkit import RingStats

#: Of more nodes only so many are drawn in a terminal: those with the most and the least.
MOST_ROWS = 40
#: A bar is drawn in eighths of a character.
EIGHTHS = " ▏▎▍▌▋▊▉"


class Bar(NamedTuple):
    """One node: its share now, and then, and what its weight asks for then."""

    name: str
    before: float
    after: float | None
    ideal: float

    @property
    def share(self) -> float:
        """What counts: then, if there is a change."""
        return self.before if self.after is None else self.after

    @property
    def load(self) -> float:
        """Its share to what its weight asks for."""
        return self.share / self.ideal if self.ideal else 0.0


@click.command()
@common(json=False)
@click.argument("name", type=NAME, help="The ring.")
@changes
@click.option(
    "--svg",
    metavar="FILE",
    help="Write a picture there, instead of bars to the terminal.",
)
@click.pass_obj
def plot(settings: Settings, /, name: str, svg: str | None, **change: Any) -> None:
    """
    Draw what each node of the ring NAME has, beside what its weight asks for.

    With a change: before it and after it; nothing is changed.
    """
    with settings.session() as session:
        ring = session.ring(name)
        after = None
        if any(change.values()):
            plan = made_up(ring, **change)
            before, after = plan.before, plan.after
        else:
            before = ring.stats()
    found = bars(before, after)
    title = f"{name}, version {before.version}: {balance(before)}"
    if after is not None:
        title += f" -> {balance(after)}"
    if svg is None:
        for line in drawn(title, found, shutil.get_terminal_size().columns):
            data(line)
        return
    from ._picture import picture

    try:
        Path(svg).write_text(picture(title, found), "utf-8")
    except OSError as error:
        raise Failure(f"cannot write {svg}: {error.strerror}", Exit.USAGE) from None


def bars(before: RingStats, after: RingStats | None) -> list[Bar]:
    """Return a bar for each node, those that come and go included, by name."""
    now = {share.name: share for share in before.nodes}
    then = {} if after is None else {share.name: share for share in after.nodes}
    found: list[Bar] = []
    for node in sorted(now.keys() | then.keys()):
        last = then.get(node) if after is not None else now.get(node)
        found.append(
            Bar(
                node,
                now[node].share if node in now else 0.0,
                None if after is None else (then[node].share if node in then else 0.0),
                last.ideal if last is not None else 0.0,
            )
        )
    return found


# -- in a terminal --------------------------------------------------------------------


def drawn(title: str, found: Sequence[Bar], columns: int) -> Iterator[str]:
    """Yield the lines of a plot."""
    yield printable(title)
    shown, left_out = _chosen(found)
    if not shown:
        yield "it has no nodes"
        return
    labels = aligned([(bar.name, _numbers(bar)) for bar in shown])
    width = max(10, min(60, columns - max(map(len, labels)) - 4))
    most = max(max(bar.before, bar.after or 0.0, bar.ideal) for bar in found)
    fine = _can_show("█▏|░")
    for number, (label, bar) in enumerate(zip(labels, shown, strict=True)):
        if left_out and number == len(shown) // 2:
            yield f"... {left_out} more between these"
        if bar.after is not None:
            yield (
                " " * len(label)
                + "  "
                + _bar(bar.before, bar.ideal, most, width, "░" if fine else "-")
            )
        yield f"{label}  " + _bar(
            bar.share, bar.ideal, most, width, "█" if fine else "#"
        )
    yield "| what its weight asks for" + (
        ""
        if found[0].after is None
        else f";  {'░' if fine else '-'} before  {'█' if fine else '#'} after"
    )


def _chosen(found: Sequence[Bar]) -> tuple[list[Bar], int]:
    if len(found) <= MOST_ROWS:
        return list(found), 0
    order = sorted(found, key=lambda bar: (-bar.load, bar.name))
    half = MOST_ROWS // 2
    return [*order[:half], *order[-half:]], len(found) - MOST_ROWS


def _numbers(bar: Bar) -> str:
    load = f"x{bar.load:.3f}" if bar.ideal else "leaves"
    return f"{percent(bar.share)}  {load}"


def _bar(share: float, ideal: float, most: float, width: int, full: str) -> str:
    """Return a bar, with a mark where it should end."""
    cells = width * share / most if most else 0.0
    text = full * int(cells)
    if full == "█":
        text += EIGHTHS[int(8 * (cells - int(cells)))].strip()
    mark = min(width, round(width * ideal / most)) if most else 0
    if not ideal or mark < len(text):
        return (
            text
            if mark >= len(text) or not ideal
            else text[:mark] + "|" + text[mark + 1 :]
        )
    return text.ljust(mark) + "|"


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
