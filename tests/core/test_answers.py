"""What the core asks of each script, and what it makes of every word of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.ops import Listen, Op, Pipeline, Wait
from coordkit.errors import CoordError, LeaseLost
from core import rings
from core.answers import count, cron, election, fence, group, lock, ring
from core.answers.said import Asked, Word
from core.lua import SCRIPTS, place
from core.props import BUSY, ENDS, RID, a_claim, wanting
from core.script import Line, Stage

NOUNS = (lock, election, group, cron, fence, count, ring)
ASKED = [asked for noun in NOUNS for asked in noun.ASKED]
WORDS = [word for noun in NOUNS for word in noun.WORDS]
each_call = pytest.mark.parametrize(
    "asked", ASKED, ids=lambda asked: str(asked.call.script)
)


# -- what is asked -----------------------------------------------------------------


def test_every_script_is_called() -> None:
    assert {asked.call.script for asked in ASKED} == set(SCRIPTS)


def positions(script: str, table: str, length: int) -> dict[int, str]:
    """What the header says stands where, from 1: there are *length* of them."""
    found: dict[int, str] = {}
    for index, word in SCRIPTS[script].described(table).items():
        stride, first = place(index)
        found |= dict.fromkeys(range(first, length + 1, stride or length), word)
    return found


def expected(asked: Asked, table: str, length: int) -> dict[int, str]:
    """What the header says stands where in such a call."""
    words = positions(asked.call.script, table, length)
    return {n: word for n, word in words.items() if word not in asked.unsaid}


@each_call
def test_every_key_stands_where_the_header_says(asked: Asked) -> None:
    kinds = [key.split(":")[4].removeprefix(asked.of) for key in asked.call.keys]
    assert dict(enumerate(kinds, 1)) == expected(asked, "KEYS", len(kinds))


@each_call
def test_every_argument_stands_where_the_header_says(asked: Asked) -> None:
    given = asked.call.args
    if asked.lists:
        given = given[: len(SCRIPTS[asked.call.script].described("ARGV"))]
    words = expected(asked, "ARGV", len(given))
    assert dict(enumerate(given, 1)) == {n: asked.values[w] for n, w in words.items()}


def test_the_lists_of_a_commit_follow_what_the_header_says() -> None:
    givers, others = ring.COMMIT.args[13:16], ring.COMMIT.args[36:]
    assert givers == ("n0", "n1", "n2")
    assert ring.COMMIT.args[16:18] == ("birth", rings.BIRTH)
    assert others == ring.LISTS


# -- what is answered --------------------------------------------------------------


def test_every_word_of_every_script_is_known_here() -> None:
    known = {(word.script, word.word) for word in WORDS}
    told = {(s.name, word) for s in SCRIPTS.values() for word in s.answers()}
    assert known == told


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.script}: {word.word}")
def test_every_word_means_what_it_should(word: Word) -> None:
    asked = Pipeline if word.trip else word.script
    lines: list[Line] = [*word.before, (asked, word.answer), *word.then]
    assert meaning(word.op(), lines) is word.means


def meaning(op: Op[Any], lines: list[Line]) -> Any:
    try:
        result: Any = Stage().play(op, lines)
    except LeaseLost as lost:
        return lost.reason
    except CoordError as error:
        return type(error)
    return None if result is None else type(result)


@pytest.mark.parametrize(
    "number", [BUSY, [b"busy", b"10000", b"0", str(ENDS).encode()]]
)
def test_numbers_come_as_numbers_or_as_text(number: list[Any]) -> None:
    op = wanting(Stage(), a_claim(), listening=True)
    lines: list[Line] = [(Listen, None), ("lock_acquire", number)]
    wait = Stage().upto(op, lines)
    assert wait == Wait(RID, 1.5)
