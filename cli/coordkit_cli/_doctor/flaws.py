"""
The known flaws of the Lua inside Redis and Valkey, and the releases that mend them.

coordkit works by scripts, so these matter wherever it runs: whoever may run scripts may
use them.  A table goes out of date: it holds what was published by September 2026.
Distributions mend a package without changing the number that the server tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Version: TypeAlias = tuple[int, int, int]
#: The first mended patch release of each branch.
Mended: TypeAlias = Mapping[tuple[int, int], int]


class Flaw(NamedTuple):
    """One flaw: what it allows, and where it was mended."""

    name: str
    allows: str
    redis: Mended
    valkey: Mended
    #: older branches do not have it
    since: tuple[int, int] = (2, 6)

    def in_redis(self, version: Version) -> bool:
        """Whether Redis of this version has it, as far as its number tells."""
        return self._stands(version, self.redis)

    def in_valkey(self, version: Version) -> bool:
        """Whether Valkey of this version has it, as far as its number tells."""
        return self._stands(version, self.valkey)

    def _stands(self, version: Version, mended: Mended) -> bool:
        branch = version[:2]
        if branch < self.since or not mended:
            return False
        if branch in mended:
            return version[2] < mended[branch]
        # A branch that is not listed came later, or got no more releases.
        return branch < max(mended)


_OCTOBER_2025: Mended = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}
_OCTOBER_2025_VALKEY: Mended = {(7, 2): 11, (8, 0): 6, (8, 1): 4}

# Sources: github.com/redis/redis: release notes 6.2.6, 6.2.7, 6.2.13 (pull 12400), 6.2.16
# (13584), 7.2.6 (13582), 7.4.1 (13583), 7.4.2 (13737); advisories GHSA-whxg-wx83-85p5,
# GHSA-39h2-x6c4-6w4c, GHSA-4789-qfc9-5f9q, GHSA-m8fj-85cg-7vhp, GHSA-qrv7-wcrx-q5jp,
# GHSA-4c68-q8q8-3g4f; issue 15231.  github.com/docker-library/official-images: pulls 20011
# (October 2025), 20902 and 21922 (the releases before and after May 2026).
# github.com/redis/docs: pull 3292.  github.com/valkey-io/valkey: pulls 1113-1115, 2684,
# 3628, 3631-3634; releases 7.2.8, 8.0.2, 8.0.6, 8.1.4, 7.2.12, 8.0.7, 8.1.6, 9.0.3.
FLAWS = (
    Flaw(
        "CVE-2021-32626",
        "corruption of the heap by a script that overflows Lua's stack",
        {(6, 0): 16, (6, 2): 6},
        {},
    ),
    Flaw(
        "CVE-2022-24735",
        "running Lua with the rights of another user",
        {(6, 2): 7, (7, 0): 0},
        {},
    ),
    Flaw(
        "CVE-2022-24834",
        "running code in the server by way of cjson or cmsgpack",
        {(6, 0): 20, (6, 2): 13, (7, 0): 12},
        {},
    ),
    Flaw(
        "CVE-2024-31449",
        "running code in the server by way of the bit library",
        {(6, 2): 16, (7, 2): 6, (7, 4): 1},
        {(7, 2): 7, (8, 0): 1},
    ),
    Flaw(
        "CVE-2024-46981",
        "running code in the server by way of Lua's garbage collector",
        {(6, 2): 17, (7, 2): 7, (7, 4): 2},
        {(7, 2): 8, (8, 0): 2},
    ),
    Flaw(
        "CVE-2025-49844",
        "running code in the server by way of Lua's parser",
        _OCTOBER_2025,
        _OCTOBER_2025_VALKEY,
    ),
    Flaw(
        "CVE-2025-46817",
        "running code in the server by way of an overflow of integers",
        _OCTOBER_2025,
        _OCTOBER_2025_VALKEY,
    ),
    Flaw(
        "CVE-2025-46818",
        "running Lua with the rights of another user",
        _OCTOBER_2025,
        _OCTOBER_2025_VALKEY,
    ),
    Flaw(
        "CVE-2025-46819",
        "reading foreign memory, or a crash, by a script",
        _OCTOBER_2025,
        _OCTOBER_2025_VALKEY,
    ),
    Flaw(
        "CVE-2025-67733",
        "forging answers to others by way of error_reply",
        {},
        {(7, 2): 12, (8, 0): 7, (8, 1): 6, (9, 0): 3},
    ),
    Flaw(
        "CVE-2026-23631",
        "running code in a replica whose script is interrupted by a full resynchronisation",
        {(7, 2): 14, (7, 4): 9, (8, 2): 6, (8, 4): 3, (8, 6): 3},
        {(7, 2): 13, (8, 0): 8, (8, 1): 7, (9, 0): 4},
        since=(7, 0),
    ),
)


def standing(name: str, version: Version) -> list[Flaw]:
    """Return the flaws of *name*, "Redis" or "Valkey", in this version."""
    if name == "Valkey":
        return [flaw for flaw in FLAWS if flaw.in_valkey(version)]
    return [flaw for flaw in FLAWS if flaw.in_redis(version)]
