"""A ring as a picture: each node's own share against what its weight asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from .._output import printable
from ._told import percent

if TYPE_CHECKING:
    from .plot import Bar

WIDTH = 900
#: Up to so many nodes each has a row with its name; more are thin columns.
MOST_ROWS = 60
LEFT, RIGHT, TOP, BOTTOM = 230, 150, 78, 34
BEFORE, AFTER, MARK, INK, PALE = "#b9c0cc", "#2f6fde", "#d1495b", "#20242c", "#6b7280"
FONT = "font-family='ui-monospace,Menlo,Consolas,monospace' font-size='12'"
#: Up to this load the grid is drawn by quarters.
MOST_FINE = 2.0
#: A long name is cut, so that it stays beside its bar.
LONGEST_NAME = 26


def picture(title: str, bars: Sequence[Bar]) -> str:
    """Return an SVG, complete in itself."""
    compared = any(bar.after is not None for bar in bars)
    if len(bars) <= MOST_ROWS:
        height, body = _rows(bars, compared=compared)
    else:
        height, body = _columns(bars, compared=compared)
    size = f"width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'"
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'>",
        f"<title>{_text(title)}</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='white'/>",
        f"<text x='20' y='30' {FONT} font-weight='bold' fill='{INK}'>{_text(title)}</text>",
        *_legend(compared=compared),
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return escape(printable(text))


def _legend(*, compared: bool) -> Iterator[str]:
    x = 20
    named = [(AFTER, "share of all slots")]
    if compared:
        named = [(BEFORE, "share before"), (AFTER, "share after")]
    for colour, text in named:
        yield f"<rect x='{x}' y='46' width='12' height='12' fill='{colour}'/>"
        yield f"<text x='{x + 18}' y='57' {FONT} fill='{PALE}'>{text}</text>"
        x += 160
    yield f"<rect x='{x + 5}' y='44' width='2' height='16' fill='{MARK}'/>"
    yield (
        f"<text x='{x + 18}' y='57' {FONT} fill='{PALE}'>what its weight asks for</text>"
    )


# -- few nodes: rows ------------------------------------------------------------------


def _rows(bars: Sequence[Bar], *, compared: bool) -> tuple[int, list[str]]:
    step = 26 if compared else 20
    span = WIDTH - LEFT - RIGHT
    most = max((max(b.before, b.after or 0.0, b.ideal) for b in bars), default=1.0)
    scale = span / most if most else 0.0
    body: list[str] = []
    for number, bar in enumerate(bars):
        body += _row(bar, TOP + number * step, step, scale)
    return TOP + len(bars) * step + BOTTOM, body


def _row(bar: Bar, y: int, step: int, scale: float) -> Iterator[str]:
    name = bar.name
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "…"
    middle = y + step / 2
    yield (
        f"<text x='{LEFT - 12}' y='{middle + 4:.1f}' text-anchor='end' {FONT} "
        f"fill='{INK}'>{_text(name)}</text>"
    )
    if bar.after is None:
        yield _rect(LEFT, y + 3, bar.before * scale, step - 6, AFTER)
    else:
        half = (step - 6) / 2
        yield _rect(LEFT, y + 3, bar.before * scale, half, BEFORE)
        yield _rect(LEFT, y + 3 + half, bar.after * scale, half, AFTER)
    if bar.ideal:
        yield _rect(LEFT + bar.ideal * scale - 1, y + 1, 2, step - 2, MARK)
    load = f"×{bar.load:.3f}" if bar.ideal else "leaves"
    yield (
        f"<text x='{WIDTH - RIGHT + 14}' y='{middle + 4:.1f}' {FONT} fill='{PALE}'>"
        f"{percent(bar.share)}  {load}</text>"
    )


# -- many nodes: columns --------------------------------------------------------------


def _columns(bars: Sequence[Bar], *, compared: bool) -> tuple[int, list[str]]:
    """Draw loads, highest first: 1 is what the weight asks for."""
    left, height = 70, 300
    span = WIDTH - left - 30
    order = sorted((b for b in bars if b.ideal), key=lambda b: (-b.load, b.name))
    most = max(1.25, *(max(b.load, b.before / b.ideal) for b in order))
    bottom = TOP + height
    step = span / max(1, len(order))
    body = [
        _grid(left, span, bottom - height * tick / most, tick) for tick in _ticks(most)
    ]
    for number, bar in enumerate(order):
        x = left + number * step
        high = height * bar.load / most
        if compared:
            was = height * bar.before / bar.ideal / most
            body.append(_rect(x, bottom - was, step, was, BEFORE))
        body.append(
            _rect(x, bottom - high, step * (0.6 if compared else 0.9), high, AFTER)
        )
    body.append(_rect(left, bottom - height / most - 1, span, 2, MARK))
    body.append(
        f"<text x='{left}' y='{bottom + 24}' {FONT} fill='{PALE}'>{len(order)} nodes, "
        "by their share to what the weight asks for</text>"
    )
    return bottom + 40, body


def _ticks(most: float) -> Iterator[float]:
    step = 0.25 if most <= MOST_FINE else 0.5
    for number in range(int(most / step) + 1):
        yield number * step


def _grid(left: int, span: int, y: float, tick: float) -> str:
    return (
        f"<rect x='{left}' y='{y:.1f}' width='{span}' height='1' fill='#e5e7eb'/>"
        f"<text x='{left - 10}' y='{y + 4:.1f}' text-anchor='end' {FONT} fill='{PALE}'>"
        f"{tick:g}</text>"
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f"<rect x='{x:.2f}' y='{y:.2f}' width='{max(0.0, width):.2f}' "
        f"height='{max(0.0, height):.2f}' fill='{colour}'/>"
    )
