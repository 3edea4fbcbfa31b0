"""The NAME of an election and an identity on the command line, and their completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from .._name import Identity, Named

if TYPE_CHECKING:
    from coordkit import Session


class ElectionName(Named):
    """What an election may be called; known are those of the last 90 days."""

    def known(self, session: Session) -> Iterable[str]:
        """Return the names of the elections."""
        return [info.name for info in session.elections()]


class CandidateName(Identity):
    """What a candidate may be called; known are those of the election that is named."""

    _election = ""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the candidates that begin with *incomplete*."""
        self._election = ctx.params.get("name") or ""
        return super().shell_complete(ctx, param, incomplete)

    def known(self, session: Session) -> Iterable[str]:
        """Return who waits to lead."""
        found = session.election(self._election).candidates()
        return [candidate.identity for candidate in found]


NAME = ElectionName()
CANDIDATE = CandidateName()
