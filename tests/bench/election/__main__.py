"""Measure elections and groups: ``python -m bench.election``, with ``tests`` on the path."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..program import Bench, options, play
from . import contestants as who
from . import failover, group, handover, heartbeat, idle
from .sizes import FULL, QUICK, Sizes

BENCHES: dict[str, Bench[Sizes]] = {
    "failover": failover.measure,
    "handover": handover.measure,
    "idle": idle.measure,
    "group": group.measure,
    "heartbeat": heartbeat.measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something happened that must never happen, else 0."""
    given = options("election", __doc__, BENCHES).parse_args(argv)
    sizes = QUICK if given.quick else FULL
    return play(given, BENCHES, sizes, who.ALL, who.absent())


if __name__ == "__main__":
    sys.exit(main())
