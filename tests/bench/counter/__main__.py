"""Measure the counters: ``python -m bench.counter``, with ``tests`` on the path."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..program import Bench, options, play
from . import adds, kept, numbers, trips
from . import contestants as who
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Bench[Sizes]] = {
    "adds": adds.measure,
    "peers": adds.peers,
    "trips": trips.measure,
    "numbers": numbers.measure,
    "kept": kept.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("counter", __doc__, BENCHES).parse_args(argv)
    sizes = QUICK if given.quick else FULL
    return play(given, BENCHES, sizes, who.ALL, who.absent())


if __name__ == "__main__":
    sys.exit(main())
