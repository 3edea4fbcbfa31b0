"""Blocks of ids, as an operation."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.ids import LARGEST_BLOCK, LARGEST_ID, Blocks, id_blocks
from coordkit._core.ops import Call, Rest
from coordkit.errors import IdRegression, KeyConflict, OutOfBounds
from core.props import no_answer
from core.script import Line, Stage, play

KEY = "ck:1:ns:{b0}:ids:jobs"


def blocks(block: int = 100, start: int = 1) -> Blocks:
    return id_blocks("ns", "jobs", block=block, start=start, timeout=2.0)


def taken(last: bytes) -> Line:
    return ("ids_take", [b"taken", last])


def test_a_block_is_what_ends_with_the_answer() -> None:
    stage = Stage()
    assert stage.play(blocks().take(0), [taken(b"300")]) == range(201, 301)
    assert stage.asked == [Call("ids_take", (KEY,), (100, 1), 2.0)]


def test_a_retry_takes_another_block() -> None:
    lines: list[Line] = [("ids_take", no_answer()), (Rest, None), taken(b"200")]
    assert play(blocks().take(0), lines) == range(101, 201)


def test_a_store_that_goes_back_is_found_out() -> None:
    assert play(blocks().take(200), [taken(b"300")]) == range(201, 301)
    with pytest.raises(IdRegression, match="start=201 or higher") as went_back:
        play(blocks().take(200), [taken(b"299")])
    assert (went_back.value.first, went_back.value.last) == (200, 200)


def test_there_may_be_no_more() -> None:
    with pytest.raises(OutOfBounds, match=f"stands at {LARGEST_ID - 4}"):
        play(blocks().take(0), [("ids_take", [b"bounds", b"9007199254740987"])])


def test_a_key_of_somebody_elses() -> None:
    with pytest.raises(KeyConflict, match="the ids 'jobs'"):
        play(blocks().take(0), [("ids_take", [b"conflict"])])


@pytest.mark.parametrize("wrong", [0, -1, LARGEST_BLOCK + 1, 2**64])
def test_no_block(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"block={wrong} is not between 1 and"):
        blocks(block=wrong)


@pytest.mark.parametrize("wrong", [0, -1, LARGEST_ID + 1])
def test_no_start(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"start={wrong} is not between 1 and"):
        blocks(start=wrong)


@pytest.mark.parametrize("wrong", [None, True, 1.0, "1"])
def test_blocks_and_starts_are_ints(wrong: Any) -> None:
    for given in ({"block": wrong}, {"start": wrong}):
        with pytest.raises(TypeError, match="is an int, not"):
            blocks(**given)
