"""What happened on the stage, kept for whoever draws it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Happened:
    """One event: seconds from the beginning, who, which kind, and what is said of it."""

    at: float
    who: str
    kind: str
    line: str
    token: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Act:
    """An act: its number, its title, and when it began."""

    number: int
    title: str
    at: float


@dataclass
class Recording:
    """A whole demo; what it says of the acts is in the order in which it was said."""

    where: str = ""
    ttl: float = 0.0
    cast: list[str] = field(default_factory=list[str])
    acts: list[Act] = field(default_factory=list[Act])
    events: list[Happened] = field(default_factory=list[Happened])
    #: an SVG: of the act that was last told, and has no time line
    figure: str = ""
    #: what each act has shown, by its number
    morals: dict[int, str] = field(default_factory=dict[int, str])
    ended_at: float = 0.0
    ending: str = ""
