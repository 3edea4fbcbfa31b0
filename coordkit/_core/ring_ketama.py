"""Ketama, as the clients of memcached place keys: to see what leaving it would move."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import md5
from math import fsum

from .ring_node import check_node_name, check_weight
from .ring_slot import key_bytes
from .ring_stats import RingStats

#: Each MD5 gives four points, and a server of average weight has forty of them.
DIGESTS, POINTS = 40, 4
SPACE = 2**32


@dataclass(frozen=True, slots=True)
class Migration:
    """
    What leaving ketama for a ring means, for these keys and for both placements.

    *keys* were asked about, of which *moved* (a share) get another node.  *before* and
    *after* are each node's share of all possible keys, exact; *max_over_mean_before*
    and *max_over_mean_after* the highest of them to what the weights would give.
    """

    keys: int
    moved: float
    flows: Mapping[tuple[str, str], int]
    before: Mapping[str, float]
    after: Mapping[str, float]
    max_over_mean_before: float
    max_over_mean_after: float


class Ketama:
    """
    The continuum of libketama: ⌊40·n·wᵢ⌋ digests a server, MD5 of ``"<name>-<i>"``.

    As in its ports, reckoned with whole numbers where libketama uses floats.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not weights:
            raise ValueError("no node is named: give at least one")
        self.weights = {
            check_node_name(name): check_weight(weight, name)
            for name, weight in weights.items()
        }
        total = fsum(self.weights.values())
        self._points = sorted(
            (int.from_bytes(digest[at : at + 4], "little"), name)
            for name, weight in self.weights.items()
            for i in range(int(DIGESTS * len(weights) * weight / total))
            for digest in [_md5(f"{name}-{i}".encode())]
            for at in range(0, 4 * POINTS, 4)
        )
        self._hashes = [point for point, _ in self._points]

    def owner(self, key: str | bytes) -> str:
        """Return the server of *key*."""
        hash_ = int.from_bytes(_md5(key_bytes(key))[:4], "little")
        at = bisect_left(self._hashes, hash_)
        return self._points[at % len(self._points)][1]

    def shares(self) -> dict[str, float]:
        """Return each server's share of all hashes, exact."""
        found: Counter[str] = Counter(dict.fromkeys(self.weights, 0))
        last = self._hashes[-1] - SPACE
        for point, name in self._points:
            found[name] += point - last
            last = point
        return {name: size / SPACE for name, size in found.items()}


def _md5(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def migration(
    old: Ketama,
    keys: Iterable[str | bytes],
    owners: Iterable[str],
    ring: RingStats,
) -> Migration:
    """Compare ketama with the *owners* of the same *keys* on a ring."""
    flows = Counter(
        (old.owner(key), now) for key, now in zip(keys, owners, strict=True)
    )
    number = flows.total()
    moved = sum(count for (was, now), count in flows.items() if was != now)
    before = old.shares()
    total = fsum(old.weights.values())
    return Migration(
        keys=number,
        moved=moved / number if number else 0.0,
        flows=dict(flows),
        before=before,
        after={share.name: share.share for share in ring.nodes},
        max_over_mean_before=max(
            before[name] * total / weight for name, weight in old.weights.items()
        ),
        max_over_mean_after=ring.max_over_mean,
    )
