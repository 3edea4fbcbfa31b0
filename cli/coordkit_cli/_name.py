"""The NAME of a thing on the command line, and its completion."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ._output import printable
from ._settings import Settings

if TYPE_CHECKING:
    from coordkit import Session


class Name(click.ParamType[str]):
    """What a thing may be called."""

    name = "name"

    @abstractmethod
    def checked(self, value: str) -> str:
        """Return *value* if it can be a name, else raise ValueError."""

    @abstractmethod
    def known(self, session: Session) -> Iterable[str]:
        """Return the names that there are."""

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return *value* if it can be a name."""
        try:
            return self.checked(value)
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin with *incomplete*."""
        try:
            with ctx.ensure_object(Settings).session() as session:
                found = list(self.known(session))
        except Exception:  # noqa: BLE001 - a key press is no place for an error
            return []
        return [
            CompletionItem(name)
            for name in found
            if name.startswith(incomplete) and name.isprintable()
        ]


class Named(Name):
    """What anything may be called; nobody keeps a list of it."""

    #: what it is called in an error
    what = "name"

    def checked(self, value: str) -> str:
        """Return *value* if it can be a name, else raise ValueError."""
        from coordkit._core.keys import check_name

        return check_name(value, self.what)

    def known(self, session: Session) -> Iterable[str]:  # noqa: ARG002
        """Return the names that there are: nobody knows."""
        return ()


class Identity(Named):
    """What a process may be called."""

    what = "identity"


NAMED = Named()
IDENTITY = Identity()
