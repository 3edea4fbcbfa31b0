"""Where a key falls on a ring: XXH64 of its bytes, of which the first bits are the slot."""

from __future__ import annotations

from array import array
from functools import lru_cache

from xxhash import xxh64_intdigest

#: What a ring says of how its keys are hashed; a reader that has another refuses.
HASH = "xxh64"
HASH_BITS = 64
DEFAULT_SLOTS = 16_384
FEWEST_SLOTS, MOST_SLOTS = 2**10, 2**20


def key_bytes(key: str | bytes) -> bytes:
    """Return *key* as it is hashed: a str in UTF-8, bytes as they are."""
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    raise TypeError(
        f"a key is a str or bytes, not {type(key).__name__}: {key!r:.80}; what "
        "stands for it in another language must be the same, so convert it yourself"
    )


def slot_of(key: str | bytes, slots: int) -> int:
    """Return the slot of *key*, from 0: the first bits of its XXH64 (seed 0)."""
    return xxh64_intdigest(key_bytes(key)) >> shift_of(slots)


def shift_of(slots: int) -> int:
    """Return by how many bits a hash is shifted to be a slot."""
    return HASH_BITS + 1 - slots.bit_length()


def check_slots(slots: int) -> int:
    """Return *slots* if a ring can have so many: a power of two, 2^10 to 2^20."""
    if isinstance(slots, bool) or not isinstance(slots, int):
        raise TypeError(f"slots is an int, not {type(slots).__name__}: {slots!r}")
    if slots & (slots - 1) or not FEWEST_SLOTS <= slots <= MOST_SLOTS:
        raise ValueError(
            f"slots={slots} is not a power of two between {FEWEST_SLOTS} and {MOST_SLOTS}"
        )
    return slots


@lru_cache(maxsize=4)
def scattered(slots: int) -> array[int]:
    """
    Return every slot once, in an order in which neighbours are strangers.

    Always the same: in this order slots change hands, so that two clients that make
    the same change of the same ring move the same slots.
    """
    order = sorted(
        range(slots), key=lambda slot: xxh64_intdigest(slot.to_bytes(4, "little"))
    )
    return array("I", order)
