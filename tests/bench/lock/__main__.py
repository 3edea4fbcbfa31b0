"""Measure the locks: ``python -m bench.lock``, with ``tests`` on the path."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..program import Bench, options, play
from . import contestants as who
from . import cycle, handover, idle, kept, tasks
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Bench[Sizes]] = {
    "cycle": cycle.measure,
    "tasks": tasks.measure,
    "handover": handover.measure,
    "kept": kept.measure,
    "idle": idle.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("lock", __doc__, BENCHES).parse_args(argv)
    sizes = QUICK if given.quick else FULL
    return play(given, BENCHES, sizes, who.ALL, who.absent())


if __name__ == "__main__":
    sys.exit(main())
