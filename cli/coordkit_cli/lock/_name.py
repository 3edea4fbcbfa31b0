"""The NAME of a lock on the command line, and its completion."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from .._output import printable
from .._settings import Settings


class LockName(click.ParamType[str]):
    """What a lock may be called."""

    name = "name"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return *value* if it can be a name."""
        from coordkit._core.keys import check_name

        try:
            return check_name(value)
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the held locks whose names begin with *incomplete*."""
        try:
            with ctx.ensure_object(Settings).session() as session:
                found = session.locks()
        except Exception:  # noqa: BLE001 - a key press is no place for an error
            return []
        return [
            CompletionItem(info.name)
            for info in found
            if info.name.startswith(incomplete) and info.name.isprintable()
        ]


NAME = LockName()
