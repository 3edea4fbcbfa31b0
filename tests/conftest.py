"""What holds for every test."""

from __future__ import annotations

import gc

from hypothesis import settings

# No test judges by how long it took on a busy machine.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_finish() -> None:
    """
    Leave the tests themselves out of every garbage collection from now on.

    There are so many that one would last longer than a short lease.
    """
    gc.collect()
    gc.freeze()
