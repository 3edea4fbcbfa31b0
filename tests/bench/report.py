"""What was measured: rows of figures, bars and whether they are met, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rounds import Samples, medians, ratios

#: Whose figures the bars are about.
OURS = "coordkit"


@dataclass(frozen=True)
class Bar:
    """What our figure, or our ratio where there is one, should be."""

    limit: float
    at_least: bool = False

    def met(self, judged: float) -> bool:
        """Whether *judged* keeps to it."""
        return judged >= self.limit if self.at_least else judged <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {shown(self.limit)}"


@dataclass(frozen=True)
class Row:
    """One thing that was measured of each contestant."""

    what: str
    unit: str
    figures: dict[str, float]
    #: to the figure of *base*
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    base: str | None = None
    bar: Bar | None = None
    samples: Samples = field(default_factory=Samples)

    @property
    def judged(self) -> float:
        """What the bar is about: our ratio where there is one, else our figure."""
        return self.ratios.get(OURS, self.figures[OURS])

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None if there is none."""
        return None if self.bar is None else self.bar.met(self.judged)


def compared(
    what: str, unit: str, samples: Samples, base: str, bar: Bar | None = None
) -> Row:
    """Return a row of medians over rounds, and of ratios to *base*."""
    return Row(
        what, unit, medians(samples), ratios(samples, base), base, bar, dict(samples)
    )


@dataclass
class Report:
    """All rows of a run, and what went wrong in it."""

    #: the columns: who takes part
    contestants: Sequence[str]
    rows: list[Row] = field(default_factory=list[Row])
    #: what must never happen, at whatever speed: then the run has failed
    violations: list[str] = field(default_factory=list[str])
    #: what a reader should know besides
    notes: list[str] = field(default_factory=list[str])

    def markdown(self) -> str:
        """Return the table."""
        others = [name for name in self.contestants if name != OURS]
        head = ["what", OURS, "bar", "met", *others]
        lines = [_line(head), _line(["---"] * len(head))]
        for row in self.rows:
            met = {None: "", True: "yes", False: "**no**"}[row.met]
            bar = "" if row.bar is None else _bar(row, row.bar)
            cells = [_cell(row, name) for name in others]
            title = f"{row.what}, {row.unit}" if row.unit else row.what
            lines.append(_line([title, _cell(row, OURS), bar, met, *cells]))
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)])

    def missed(self) -> list[Row]:
        """Return the rows whose bar is not met."""
        return [row for row in self.rows if row.met is False]

    def write(self, path: Path, environment: dict[str, Any]) -> None:
        """Write everything, each round's sample included, as JSON."""
        rows = [
            {
                "what": row.what,
                "unit": row.unit,
                "figures": row.figures,
                "base": row.base,
                "ratios": row.ratios,
                "bar": None if row.bar is None else str(row.bar),
                "met": row.met,
                "samples": row.samples,
            }
            for row in self.rows
        ]
        whole = {
            "environment": environment,
            "rows": rows,
            "notes": self.notes,
            "violations": self.violations,
        }
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def shown(figure: float) -> str:
    """Return three digits that count, more in front of the point; 0 stays 0."""
    if figure == int(figure):
        return f"{figure:.0f}"
    size = len(str(int(abs(figure)))) if abs(figure) >= 1 else 0
    return f"{figure:.{max(3 - size, 0)}f}"


def _bar(row: Row, bar: Bar) -> str:
    return f"{bar} × {row.base}" if OURS in row.ratios else str(bar)


def _cell(row: Row, name: str) -> str:
    if name not in row.figures:
        return ""
    ratio = f" ({row.ratios[name]:.2f} ×)" if name in row.ratios else ""
    return shown(row.figures[name]) + ratio


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
