"""
Draws a recording: a page with one picture in it, which needs nothing else.

No script, no font, nothing from elsewhere: one file that can be mailed.  An act is a
panel, a worker a lane; all panels have the same scale.  What an event does to a lane, and
how it is marked, stands in `KINDS`: an act that brings new kinds adds a line for each, and
one that is not listed is a plain dot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from textwrap import wrap
from typing import NamedTuple

from .._output import printable
from .record import Act, Happened, Recording

WIDTH, LEFT, RIGHT = 1080, 96, 24
LANE, BAR, THIN, LINE = 60, 20, 10, 6
HEAD, FOOT, TOP = 82, 34, 52
LEGEND = 40
#: How wide a letter of a label is, at its size of 12 px, on the safe side.
LETTER = 7.8
#: Letters of a moral's line.
MORAL = 140
#: Room behind the last event of an act, for what is said of it, in seconds.
TAIL = 0.45


class Kind(NamedTuple):
    """What an event of some kind does to its lane: spans that it ends, one that it begins."""

    begins: str = ""
    ends: tuple[str, ...] = ()
    mark: str = "dot"
    #: what stands beside the mark; {token} is short, {facts} go by their names
    label: str = ""


KINDS = {
    "waiting": Kind(begins="waiting", mark="", label="waits, no. {place}"),
    "taken": Kind(begins="held", ends=("waiting",), mark="", label="{token}"),
    "elected": Kind(begins="led", ends=("waiting",), mark="", label="leads, {token}"),
    "given": Kind(ends=("held",), mark="", label="gives it back"),
    "killed": Kind(
        begins="left", ends=("held", "led", "waiting"), mark="cross", label="killed"
    ),
    "frozen": Kind(begins="frozen", mark="", label="frozen"),
    "thawed": Kind(ends=("frozen",), mark="", label="goes on"),
    "written": Kind(mark="dot", label="writes {value}"),
    "lost": Kind(ends=("held",), mark="ring", label="sees its loss"),
    "refused": Kind(mark="stop", label="REFUSED: {token} is old"),
}
#: The spans in the order in which they are painted: how thick, and what the legend says.
SPANS = {
    "waiting": (LINE, "waits in line"),
    "held": (BAR, "has the lock"),
    "led": (BAR, "leads"),
    "left": (BAR, "dead, its lease runs out"),
    "frozen": (THIN, "frozen"),
}


@dataclass
class Span:
    """A stretch of time on a lane."""

    kind: str
    who: str
    begin: float
    end: float
    token: int | None = None


@dataclass
class _Lanes:
    """Follows the events and keeps what is open on each lane."""

    done: list[Span] = field(default_factory=list[Span])
    open: dict[tuple[str, str], Span] = field(
        default_factory=dict[tuple[str, str], Span]
    )

    def see(self, event: Happened) -> None:
        kind = KINDS.get(event.kind, Kind())
        for ended in kind.ends:
            self.close(ended, event.who, _effective(event))
        if kind.begins in ("held", "led"):  # whoever had it has it no longer
            for name, who in list(self.open):
                if name in (kind.begins, "left") and who != event.who:
                    self.close(name, who, event.at)
        if kind.begins:
            begun = Span(kind.begins, event.who, event.at, event.at, event.token)
            self.open[kind.begins, event.who] = begun

    def close(self, kind: str, who: str, at: float) -> None:
        span = self.open.pop((kind, who), None)
        if span is not None:
            span.end = max(span.begin, at)
            self.done.append(span)


def _effective(event: Happened) -> float:
    """Return since when it was so: a lease was over before its holder saw it."""
    return event.at - float(event.facts.get("over", 0.0))


def spans(recording: Recording) -> list[Span]:
    """Return every stretch of every lane, those that are open at the end too."""
    lanes = _Lanes()
    for event in sorted(recording.events, key=_effective):
        lanes.see(event)
    for kind, who in list(lanes.open):
        lanes.close(kind, who, recording.ended_at)
    order = list(SPANS)
    return sorted(lanes.done, key=lambda span: (order.index(span.kind), span.begin))


def short(token: int | None) -> str:
    """Return a token as a label shows it: its last digits tell it from its neighbours."""
    return "" if token is None else f"token …{token % 1_000_000:06d}"


# -- the page ------------------------------------------------------------------------------


def page(recording: Recording) -> str:
    """Return the whole of it, as HTML."""
    title = "coordkit demo: who had the lock, and when"
    rows = "\n".join(_row(event) for event in recording.events)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_style("page")}</style>
<main>
{svg(recording, title)}
<p>{_text(recording.ending)}</p>
<details>
<summary>Everything that happened, in seconds from the beginning</summary>
<table>
<thead><tr><th>s</th><th>who</th><th>what</th><th>token</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</details>
</main>
</html>
"""


def _row(event: Happened) -> str:
    token = "" if event.token is None else str(event.token)
    cells = (f"{event.at:.2f}", event.who, event.line, token)
    return "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"


def _style(name: str) -> str:
    return files("coordkit_cli._demo").joinpath(f"{name}.css").read_text("utf-8")


def _text(text: str) -> str:
    return escape(printable(text))


# -- the picture ---------------------------------------------------------------------------


class Panel(NamedTuple):
    """Where an act is drawn: it lasts from *begin* until *end*, its axis for longer."""

    act: Act
    top: float
    begin: float
    end: float
    axis: float
    lanes: Sequence[str]
    scale: float

    @property
    def height(self) -> float:
        return HEAD + LANE * len(self.lanes) + FOOT

    def x(self, at: float) -> float:
        return LEFT + (max(at, self.begin) - self.begin) * self.scale

    def y(self, who: str) -> float:
        return self.top + HEAD + LANE * self.lanes.index(who) + LANE / 2


def panels(recording: Recording) -> list[Panel]:
    """Return a panel for each act, one below the other, all of one scale."""
    acts = recording.acts
    lanes = list(dict.fromkeys([*recording.cast, *(e.who for e in recording.events)]))
    ends = [act.at for act in acts[1:]] + [recording.ended_at][: len(acts)]
    axes = [
        max(end, *(e.at + TAIL for e in recording.events if act.at <= e.at < end), end)
        for act, end in zip(acts, ends, strict=True)
    ]
    lengths = [axis - act.at for act, axis in zip(acts, axes, strict=True)]
    longest = max(lengths, default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / max(longest, 0.1)
    found: list[Panel] = []
    top = float(TOP)
    for act, end, axis in zip(acts, ends, axes, strict=True):
        panel = Panel(act, top, act.at, end, axis, lanes, scale)
        found.append(panel)
        top += panel.height
    return found


def svg(recording: Recording, title: str) -> str:
    """Return the picture alone; it is well as a file of its own, too."""
    shown = panels(recording)
    height = TOP + sum(panel.height for panel in shown) + LEGEND
    drawn = spans(recording)
    parts = [part for panel in shown for part in _panel(panel, recording, drawn)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"',
            ' role="img" aria-labelledby="what story">',
            f'<title id="what">{_text(title)}</title>',
            f'<desc id="story">{_text(" ".join(_story(recording)))}</desc>',
            f"<style>{_style('picture')}</style>",
            PATTERNS,
            f'<rect class="ground" width="{WIDTH}" height="{height:.0f}" rx="10"/>',
            f'<text class="heading" x="{LEFT}" y="34">coordkit demo</text>',
            f'<text class="where" x="{WIDTH - RIGHT}" y="34">{_text(_where(recording))}</text>',
            *parts,
            *_legend(height - LEGEND / 2),
            "</svg>",
        ]
    )


def _where(recording: Recording) -> str:
    return f"on {recording.where}; a lease lasts {recording.ttl:g} s"


def _story(recording: Recording) -> Iterator[str]:
    """Tell it in sentences, for whoever cannot see it."""
    yield f"A time line of {', '.join(recording.cast)}, on {recording.where}."
    for event in recording.events:
        token = "" if event.token is None else f", token {event.token}"
        yield f"{event.at:.2f} s: {event.who} {event.line}{token}."


def _panel(panel: Panel, recording: Recording, drawn: list[Span]) -> Iterator[str]:
    act = panel.act
    yield f'<text class="title" x="{LEFT}" y="{panel.top + 26:.1f}">'
    yield f'<tspan class="act">{act.number}</tspan> {_text(act.title)}</text>'
    for n, line in enumerate(
        wrap(printable(recording.morals.get(act.number, "")), MORAL)
    ):
        y = panel.top + 45 + 15 * n
        yield f'<text class="moral" x="{LEFT}" y="{y:.1f}">{escape(line)}</text>'
    yield from _grid(panel)
    dead = {e.who: e.at for e in recording.events if e.kind == "killed"}
    for who in panel.lanes:
        y = panel.y(who)
        ends = panel.x(min(dead.get(who, panel.axis), panel.axis))
        gone = " gone" if dead.get(who, panel.end) <= panel.begin else ""
        yield f'<text class="who{gone}" x="{LEFT - 14}" y="{y + 4:.1f}">{_text(who)}</text>'
        if ends > LEFT:
            yield f'<line class="lane" x1="{LEFT}" x2="{ends:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    for span in drawn:
        if span.begin < panel.end and span.end > panel.begin:
            yield _bar(panel, span)
    within = [e for e in recording.events if panel.begin <= e.at < panel.end]
    for who in panel.lanes:
        yield from _marks(panel, [event for event in within if event.who == who])


def _grid(panel: Panel) -> Iterator[str]:
    """Draw a line for each half second, and say each full one."""
    bottom = panel.top + panel.height - FOOT + 2
    for half in range(int((panel.axis - panel.begin) * 2) + 1):
        x = panel.x(panel.begin + half / 2)
        css = "second" if half % 2 == 0 else "half"
        yield (
            f'<line class="{css}" x1="{x:.1f}" x2="{x:.1f}" '
            f'y1="{panel.top + HEAD - 8:.1f}" y2="{bottom:.1f}"/>'
        )
        if half % 2 == 0:
            yield f'<text class="axis" x="{x:.1f}" y="{bottom + 15:.1f}">{half // 2} s</text>'


def _bar(panel: Panel, span: Span) -> str:
    begin, end = panel.x(span.begin), panel.x(min(span.end, panel.end))
    y = panel.y(span.who)
    height, name = SPANS[span.kind]
    said = f"{span.who}: {name}, {span.end - span.begin:.2f} s"
    if span.token is not None:
        said += f", token {span.token}"
    return (
        f'<rect class="{span.kind}" x="{begin:.1f}" y="{y - height / 2:.1f}" '
        f'width="{max(end - begin, 2):.1f}" height="{height}" rx="{min(5, height / 2):.0f}">'
        f"<title>{_text(said)}</title></rect>"
    )


#: Where a label may stand, best first: how far below the middle of its lane.
_ROWS = (-BAR / 2 - 7, BAR / 2 + 15, -BAR / 2 - 21)


def _marks(panel: Panel, events: list[Happened]) -> Iterator[str]:
    """Draw the marks of one lane, each label where there is room for it."""
    free = dict.fromkeys(_ROWS, 0.0)
    for event in events:
        kind = KINDS.get(event.kind, Kind(label=event.kind))
        x, y = panel.x(event.at), panel.y(event.who)
        yield from _mark(kind.mark, x, y)
        label = kind.label.format_map({**event.facts, "token": short(event.token)})
        width = LETTER * len(label)
        left = max(min(x - 2, WIDTH - RIGHT - width), LEFT)
        row = next((row for row in _ROWS if free[row] <= left), _ROWS[-1])
        free[row] = left + width
        yield (
            f'<text class="label {_css(event.kind)}" x="{left:.1f}" y="{y + row:.1f}">'
            f"{_text(label)}<title>{_text(_said(event))}</title></text>"
        )


def _said(event: Happened) -> str:
    token = "" if event.token is None else f", token {event.token}"
    return f"{event.at:.2f} s: {event.who} {event.line}{token}"


def _css(kind: str) -> str:
    return f"of-{kind}" if kind in KINDS else "of-other"


def _mark(mark: str, x: float, y: float) -> Iterator[str]:
    match mark:
        case "dot":
            yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case "ring":
            yield f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        case "cross":
            yield (
                f'<path class="cross" d="M{x - 7:.1f} {y - 7:.1f}l14 14m0 -14l-14 14"/>'
            )
        case "stop":
            yield f'<circle class="stop" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
            yield f'<path class="bar" d="M{x - 4:.1f} {y:.1f}h8"/>'
        case _:
            pass


def _legend(y: float) -> Iterator[str]:
    x = float(LEFT)
    for kind, (height, text) in SPANS.items():
        yield (
            f'<rect class="{kind}" x="{x:.1f}" y="{y - height / 2 - 4:.1f}" width="26" '
            f'height="{height}" rx="3"/>'
        )
        yield f'<text class="legend" x="{x + 34:.1f}" y="{y:.1f}">{text}</text>'
        x += 34 + LETTER * len(text) + 26
    yield from _mark("stop", x + 8, y - 4)
    yield f'<text class="legend" x="{x + 24:.1f}" y="{y:.1f}">refused by its token</text>'


PATTERNS = """<defs>
<pattern id="ice" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect class="ice-ground" width="7" height="7"/><rect class="ice" width="3" height="7"/></pattern>
</defs>"""
