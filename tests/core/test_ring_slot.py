"""Where a key falls: what every language must agree on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from xxhash import xxh64_intdigest

from coordkit._core.ring_slot import (
    DEFAULT_SLOTS,
    HASH,
    check_slots,
    key_bytes,
    scattered,
    shift_of,
    slot_of,
)

#: key, its XXH64 (seed 0), its slot of 2^14
GOLDEN: list[tuple[str, int, int]] = [
    ("", 0xEF46DB3751D8E999, 15313),
    ("user:42", 0xDC1FEA7DA8D2D1C2, 14087),
    ("ключ", 0xA17D2DD13D89D19C, 10335),
    ("a" * 100, 0x375041E8B1DECFB3, 3540),
]


@pytest.mark.parametrize(("key", "digest", "slot"), GOLDEN)
def test_golden_vectors(key: str, digest: int, slot: int) -> None:
    assert xxh64_intdigest(key.encode()) == digest
    assert slot_of(key, DEFAULT_SLOTS) == slot == digest >> 50
    assert slot_of(key.encode(), DEFAULT_SLOTS) == slot
    assert slot_of(key, 2**10) == digest >> 54
    assert slot_of(key, 2**20) == digest >> 44


def test_the_shape_of_a_ring_that_is_not_told_otherwise() -> None:
    assert (HASH, DEFAULT_SLOTS, shift_of(DEFAULT_SLOTS)) == ("xxh64", 2**14, 50)


@pytest.mark.parametrize(
    "key", [7, None, 1.5, bytearray(b"a"), ("a",), memoryview(b"a")]
)
def test_keys_of_other_types_are_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(key).__name__}"):
        key_bytes(key)


@pytest.mark.parametrize("slots", [2**9, 2**21, 1000, 16_383, 0, -1024, 3 * 2**10])
def test_slots_are_a_power_of_two(slots: int) -> None:
    with pytest.raises(
        ValueError, match=f"slots={slots} is not a power of two between"
    ):
        check_slots(slots)


@pytest.mark.parametrize("slots", [True, 1024.0, "1024", None])
def test_slots_are_an_int(slots: Any) -> None:
    with pytest.raises(TypeError, match="slots is an int"):
        check_slots(slots)


def test_the_order_in_which_slots_change_hands_is_fixed() -> None:
    order = scattered(1024)
    assert sorted(order) == list(range(1024))
    # Two versions of coordkit that make the same change must move the same slots.
    assert list(order[:8]) == [167, 596, 1016, 207, 66, 23, 431, 590]
    steps = [abs(a - b) for a, b in pairwise(order)]
    assert 300 < sum(steps) / len(steps) < 390, "a third of all, as of two at random"
