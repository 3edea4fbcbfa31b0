"""What the programs of all benches have in common: their options, and their last words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .report import Report


def options(
    of: str, says: str | None, benches: Iterable[str]
) -> argparse.ArgumentParser:
    """Return a parser of the options of ``python -m bench.<of>``."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{of}", description=says)
    names = list(benches)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it run?"
    )
    parser.add_argument(
        "--only",
        choices=names,
        action="append",
        metavar="NAME",
        help=" ".join(names),
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="all figures, and where"
    )
    return parser


def place(where: dict[str, Any]) -> str:
    """Return in a few words on what machine something was measured, and when."""
    return (
        f"{where['cpu']}, {where['cores']} cores, {where['python']}, {where['server']}, "
        f"redis-py {where['packages']['redis']}, {where['date'][:10]}"
    )


def conclude(report: Report, file: Path | None, where: dict[str, Any]) -> int:
    """Print the report; return 1 if something happened that must never happen, else 0."""
    print(report.markdown())
    if file is not None:
        report.write(file, where)
    for row in report.missed():
        print(f"bar missed: {row.what}", file=sys.stderr)
    for violation in report.violations[:20]:
        print(f"VIOLATION: {violation}", file=sys.stderr)
    return 1 if report.violations else 0
