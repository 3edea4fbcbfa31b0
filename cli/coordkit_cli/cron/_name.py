"""The NAME of a cron on the command line, and its completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from .._output import printable
from .._settings import Settings

if TYPE_CHECKING:
    from coordkit import Session
    from coordkit._core.cron import Cron


class CronName(click.ParamType[str]):
    """What a cron may be called."""

    name = "name"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return *value* if it can be a name."""
        from coordkit._core.cron import cron

        try:
            return cron("default", value, 0.0).name
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that were ever run and begin with *incomplete*."""
        from coordkit._core.cron import listing

        try:
            with ctx.ensure_object(Settings).session() as session:
                engine = session._engine
                found = engine.run(listing(session.namespace, engine.timeout))
        except Exception:  # noqa: BLE001 - a key press is no place for an error
            return []
        return [
            CompletionItem(name)
            for name, _ in found
            if name.startswith(incomplete) and name.isprintable()
        ]


NAME = CronName()


def of(session: Session, name: str) -> Cron:
    """Return the cron *name* of a session's namespace."""
    from coordkit._core.cron import cron

    return cron(session.namespace, name, session._engine.timeout)
