"""Whole numbers on the command line; also negative ones, which look like options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

LEAST, MOST = -(2**63), 2**63 - 1
#: What a shell hands on to a command under `lock run`.
TOKEN_IN_ENVIRONMENT = "COORDKIT_FENCING_TOKEN"  # noqa: S105 - the name of a variable
LARGEST_TOKEN = 2**53
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")

#: For a command with a number among its arguments: "-5" is one, and no option.
NEGATIVE_TOO = {"ignore_unknown_options": True}


class Whole(click.ParamType[int]):
    """An integer between *least* and *most*."""

    name = "integer"

    def __init__(self, least: int = LEAST, most: int = MOST) -> None:
        self._least = least
        self._most = most

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return *value* as an int; a number is one already."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if not _WHOLE.fullmatch(text):
            self.fail(f"{value!r} is no integer{_origin(param, ctx)}", param, ctx)
        if not self._least <= int(text) <= self._most:
            allowed = f"between {self._least} and {self._most}{_origin(param, ctx)}"
            self.fail(f"{text} is not {allowed}", param, ctx)
        return int(text)


def _origin(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Name the variable that a value came from, which nobody typed."""
    if param is None or ctx is None:
        return ""
    source = ctx.get_parameter_source(param.name)
    if source is not ParameterSource.ENVIRONMENT:
        return ""
    return f" (of the environment: {param.envvar})"


def token_option(*, says: str, required: bool = False) -> Callable[[F], F]:
    """Add ``--token``, which a command under `lock run` need not be given."""
    return click.option(
        "--token",
        type=Whole(1, LARGEST_TOKEN),
        envvar=TOKEN_IN_ENVIRONMENT,
        required=required,
        metavar="N",
        help=f"{says}  [env: {TOKEN_IN_ENVIRONMENT}]",
    )
