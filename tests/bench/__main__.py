"""List the benches: ``python -m bench``, with ``tests`` on the path."""

from __future__ import annotations

import importlib
import pkgutil

import bench


def main() -> None:
    """Print the name and the first line of every bench."""
    for module in pkgutil.iter_modules(bench.__path__):
        if module.ispkg:
            said = importlib.import_module(f"bench.{module.name}").__doc__ or ""
            print(f"python -m bench.{module.name:8} {said.strip().splitlines()[0]}")


if __name__ == "__main__":
    main()
