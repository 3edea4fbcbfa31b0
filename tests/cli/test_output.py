"""Durations as they are typed and shown; records as text and as JSON."""

from __future__ import annotations

import json
import math

import click
import pytest

from coordkit_cli._duration import DURATION, spoken
from coordkit_cli._output import DEEPEST, aligned, json_line, printable


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("1d", 86_400.0),
        ("3", 3.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0.0),
        (" 10 s ", 10.0),
    ],
)
def test_a_duration_is_read(typed: str, seconds: float) -> None:
    assert DURATION.convert(typed, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [2, 2.5])
def test_a_default_that_is_a_number_is_seconds(seconds: float) -> None:
    assert DURATION.convert(seconds, None, None) == seconds


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "s",
        "10 parsecs",
        "-1s",
        "1h30m",
        "1e3",
        "nan",
        "inf",
        "٣s",
        "10S",
        "9" * 400,
    ],
)
def test_no_duration_is_refused_with_what_one_may_write(typed: str) -> None:
    with pytest.raises(click.BadParameter, match=r"write 500ms, 10s, 1\.5m, 2h or 1d"):
        DURATION.convert(typed, None, None)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0ms"),
        (0.25, "250ms"),
        (1.0, "1.0s"),
        (18.24, "18.2s"),
        (90.0, "1.5m"),
        (7200.0, "2.0h"),
        (86_400.0, "1.0d"),
    ],
)
def test_a_span_is_shown_as_one_types_it(seconds: float, shown: str) -> None:
    assert spoken(seconds) == shown
    assert math.isclose(DURATION.convert(shown, None, None), seconds, rel_tol=0.01)


HOSTILE = "a\x1b[31mb\rc\nd\x7f\x9be\u202ef\u2028g\ud800"


def test_text_keeps_letters_and_escapes_what_a_terminal_would_obey() -> None:
    assert printable("größe 日本 \\ 'x'") == "größe 日本 \\ 'x'"
    assert printable(HOSTILE) == (r"a\x1b[31mb\rc\nd\x7f\x9be\u202ef\u2028g\ud800")


def test_json_escapes_the_same_and_gives_it_back() -> None:
    line = json_line({"name": HOSTILE, "größe": "日本"})
    assert line.isprintable()
    assert "größe" in line
    assert json.loads(line) == {"v": 1, "name": HOSTILE, "größe": "日本"}


def test_json_of_what_json_has_no_word_for_is_still_json() -> None:
    deep: list[object] = []
    for _ in range(5 * DEEPEST):
        deep = [deep]
    line = json_line({"a": math.nan, "b": [math.inf], "c": {"d": -math.inf}, "e": deep})
    read = json.loads(line)
    assert (read["a"], read["b"], read["c"]) == (None, [None], {"d": None})
    assert line.count("…") == 1


def test_json_begins_with_its_version() -> None:
    assert json_line({"name": "x"}) == '{"v":1,"name":"x"}'


def test_columns_stand_under_each_other() -> None:
    assert aligned([("a", "1", "x"), ("bbb", "22", "")]) == ["a    1   x", "bbb  22"]


def test_wide_and_combining_characters_are_counted_as_they_are_shown() -> None:
    assert aligned([("日本", "x"), ("e\u0301", "x"), ("abcd", "x")]) == [
        "日本  x",
        "e\u0301     x",
        "abcd  x",
    ]


def test_no_rows_are_no_lines() -> None:
    assert aligned([]) == []
