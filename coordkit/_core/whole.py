"""Whole numbers: what a caller may give."""

from __future__ import annotations

#: What Redis adds exactly: an integer of 64 bits.
LEAST, MOST = -(2**63), 2**63 - 1


#: Python refuses to write what is very long, and nobody wants to read it.
LONGEST_SHOWN = 128


def whole(value: int, what: str, *, least: int = LEAST, most: int = MOST) -> int:
    """Return *value* if it is an int between *least* and *most*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is an int, not {type(value).__name__}: {value!r:.80}")
    if not least <= value <= most:
        raise ValueError(f"{what}={shown(value)} is not between {least} and {most}")
    return value


def shown(value: int) -> str:
    """Return an int as it is shown in a message."""
    bits = value.bit_length()
    return str(value) if bits <= LONGEST_SHOWN else f"<an int of {bits} bits>"
