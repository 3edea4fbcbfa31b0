"""The NAME of a ring, nodes and shares on the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from .._name import Name

if TYPE_CHECKING:
    from coordkit import Session


class RingName(Name):
    """What a ring may be called."""

    def checked(self, value: str) -> str:
        """Return *value* if it can be a name, else raise ValueError."""
        from coordkit._core.keys import check_name

        return check_name(value)

    def known(self, session: Session) -> Iterable[str]:
        """Return the rings that there are."""
        return [info.name for info in session.rings()]


class Weighed(click.ParamType[tuple[str, float]]):
    """A node with its weight: NODE, or NODE=WEIGHT."""

    name = "node"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, float]:
        """Return name and weight; what follows the last = is a weight if it is a number."""
        name, equals, weight = str(value).rpartition("=")
        if not equals:
            return str(value), 1.0
        try:
            return name, float(weight)
        except ValueError:
            self.fail(f"{weight!r} is no weight; write NODE or NODE=2.5", param, ctx)


class Share(click.ParamType[float]):
    """A share of all slots: 5% or 0.05."""

    name = "share"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the share, above 0 and up to 1."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            self.fail(
                f"{value!r} is no share; write 5% or 0.05, up to 100%", param, ctx
            )
        return share


NAME = RingName()
WEIGHED = Weighed()
SHARE = Share()
