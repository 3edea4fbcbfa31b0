"""Reads what a script answered: words and numbers come as bytes or as int."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """Return a word of a reply."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def number(value: Any) -> int:
    """Return a number of a reply, whichever way the server wrote it."""
    return int(value)
