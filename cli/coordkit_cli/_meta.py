"""``--meta KEY=VALUE``: what others should know of something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Pair(click.ParamType[tuple[str, str]]):
    """A key and its value."""

    name = "pair"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return key and value."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType] - one of ours
        key, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r}: write KEY=VALUE", param, ctx)
        return key, text


def meta_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--meta``; the function gets a tuple of pairs, of which a dict can be made."""
    option = click.option(
        "--meta",
        type=Pair(),
        multiple=True,
        metavar="KEY=VALUE",
        help="What readers should know of it; may be repeated.",
    )
    command: Callable[..., Any] = option(function)
    return command
