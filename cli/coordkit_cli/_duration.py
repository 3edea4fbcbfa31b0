"""Durations as they are typed, ``500ms 10s 1.5m 2h 1d``, and as they are shown."""

from __future__ import annotations

import math
import re

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?(ms|s|m|h|d)?")


class Duration(click.ParamType[float]):
    """A span of time, in seconds; a bare number is seconds."""

    name = "duration"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return *value* in seconds; a number is one already."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip())
        span = float(match[1]) * _UNITS[match[2] or "s"] if match else math.inf
        if not math.isfinite(span):
            self.fail(
                f"{value!r} is no duration: write 500ms, 10s, 1.5m, 2h or 1d; a bare "
                "number is seconds",
                param,
                ctx,
            )
        return span


DURATION = Duration()


def spoken(seconds: float) -> str:
    """Return *seconds* as one would type them, to three digits or so."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    for unit, limit in (("s", 60.0), ("m", 3600.0), ("h", 86_400.0)):
        if seconds < limit:
            return f"{seconds / _UNITS[unit]:.1f}{unit}"
    return f"{seconds / _UNITS['d']:.1f}d"
