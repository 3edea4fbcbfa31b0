"""Ketama, and what leaving it would move."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from coordkit._core.ring_ketama import SPACE, Ketama, migration
from coordkit._core.ring_stats import stats
from core.rings import a_ring

SERVERS = {"10.0.1.1:11211": 600, "10.0.1.2:11211": 300, "10.0.1.3:11211": 200}


def naive(weights: dict[str, float], key: str) -> str:
    """The same, as one would say it."""
    points: list[tuple[int, str]] = []
    total = sum(weights.values())
    for name, weight in weights.items():
        for i in range(int(40 * len(weights) * weight / total)):
            digest = hashlib.md5(f"{name}-{i}".encode()).digest()  # noqa: S324
            for h in range(4):
                part = digest[4 * h : 4 * h + 4]
                point = part[3] << 24 | part[2] << 16 | part[1] << 8 | part[0]
                points.append((point, name))
    digest = hashlib.md5(key.encode()).digest()  # noqa: S324
    hash_ = digest[3] << 24 | digest[2] << 16 | digest[1] << 8 | digest[0]
    after = [point for point in points if point[0] >= hash_] or points
    return min(after)[1]


def test_it_places_as_libketama_does() -> None:
    old = Ketama(SERVERS)
    for n in range(200):
        assert old.owner(f"key:{n}") == naive(dict(SERVERS), f"key:{n}")
        assert old.owner(f"key:{n}".encode()) == old.owner(f"key:{n}")


def test_its_shares_are_exact() -> None:
    old = Ketama(SERVERS)
    shares = old.shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    counted = Counter(old.owner(f"key:{n}") for n in range(20_000))
    for name, share in shares.items():
        assert counted[name] / 20_000 == pytest.approx(share, abs=0.02)
    assert Ketama({"only": 1}).shares() == {"only": 1.0}
    assert SPACE == 2**32


def test_what_a_migration_moves() -> None:
    ring = a_ring({name: float(weight) for name, weight in SERVERS.items()})
    keys = [f"key:{n}" for n in range(3000)]
    table = ring.table()
    owners = [table[hash(key) % len(table)] for key in keys]
    found = migration(Ketama(SERVERS), keys, owners, stats(ring))
    assert found.keys == 3000
    moved = sum(n for (was, now), n in found.flows.items() if was != now)
    assert found.moved == moved / 3000
    assert sum(found.flows.values()) == 3000
    # The two hash differently: what stays is what chance leaves.
    stays = sum(found.before[name] * found.after[name] for name in SERVERS)
    assert found.moved == pytest.approx(1 - stays, abs=0.05)
    assert found.max_over_mean_before > 1.02
    assert found.max_over_mean_after < 1.01


def test_no_keys_move_nothing() -> None:
    found = migration(Ketama({"a": 1}), [], [], stats(a_ring(1)))
    assert (found.keys, found.moved, found.flows) == (0, 0.0, {})


def test_a_server_of_too_little_weight_has_no_points() -> None:
    old = Ketama({"big": 1000, "tiny": 1})
    assert old.shares()["tiny"] == 0.0


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"": 1}, {"a": float("nan")}])
def test_what_is_no_ring(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Ketama(weights)
