"""What is public of a class: its names, its bases' too, and the functions behind them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class PublicName(NamedTuple):
    """A public name of a class."""

    owner: type
    name: str
    value: Any

    @property
    def path(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function behind it, if there is one."""
        value = self.value
        if isinstance(value, property):
            return value.fget
        if isinstance(value, staticmethod | classmethod):
            return value.__func__
        return value if inspect.isfunction(value) else None


def members(owner: type) -> list[PublicName]:
    """The public names that *owner* has from us, its bases' too."""
    found: dict[str, PublicName] = {}
    for base in owner.__mro__:
        if base.__module__.startswith("coordkit"):
            for name, value in vars(base).items():
                if not name.startswith("_"):
                    found.setdefault(name, PublicName(owner, name, value))
    return sorted(found.values())
