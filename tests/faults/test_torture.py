"""
The torture, short here; by hand::

    COORDKIT_TORTURE_SECONDS=60 pytest tests/faults/test_torture.py

COORDKIT_TORTURE_SEED repeats a plan of faults.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from faults import verdict
from faults.torture import Torture, Variety

SECONDS = float(os.environ.get("COORDKIT_TORTURE_SECONDS", "8"))
SEED = os.environ.get("COORDKIT_TORTURE_SEED")


@pytest.mark.parametrize(
    ("variety", "share"), [("strict", 1.0), ("journal", 0.3), ("empty", 0.3)]
)
def test_torture(
    variety: Variety, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(SEED) if SEED else secrets.randbelow(1_000_000)
    torture = Torture(variety, share * SECONDS, seed, tmp_path)
    print(f"seed {seed}")  # noqa: T201 -- shown when it fails
    events = torture.run()
    verdict.judge(torture, events)
    with capsys.disabled():
        print("\n" + verdict.summary(torture, events))  # noqa: T201 -- the counts
