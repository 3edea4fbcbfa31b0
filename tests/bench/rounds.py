"""Turns: every contestant once a round, the order changed from round to round."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

Samples = dict[str, list[float]]


def turns(contestants: Sequence[str], rounds: int) -> Iterator[str]:
    """
    Yield who is next.

    The order is rotated, and every other round runs backwards: nobody always begins,
    and nobody always follows the same one.
    """
    for number in range(rounds):
        cut = number % len(contestants)
        order = [*contestants[cut:], *contestants[:cut]]
        yield from reversed(order) if number % 2 else order


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each contestant's median over the rounds."""
    return {name: statistics.median(taken) for name, taken in samples.items()}


def ratios(samples: Mapping[str, Sequence[float]], base: str) -> dict[str, float]:
    """Return each contestant's median ratio to *base*, round by round."""
    return {
        name: statistics.median(
            mine / theirs for mine, theirs in zip(taken, samples[base], strict=True)
        )
        for name, taken in samples.items()
        if name != base
    }
