"""The picture of a demo: what it shows of a recording, and that it needs nothing else."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cli.program import Program
from cli.test_demo import STORY
from coordkit_cli._demo.picture import (
    KINDS,
    LEFT,
    RIGHT,
    SPANS,
    WIDTH,
    page,
    panels,
    spans,
)
from coordkit_cli._demo.record import Act, Happened, Recording
from support.servers import HOST

SVG = "{http://www.w3.org/2000/svg}"
TOKENS = (1795722655409064, 1795722655932887, 1795722656434546)


def event(
    at: float, who: str, kind: str, token: int | None = None, **facts: Any
) -> Happened:
    return Happened(at, who, kind, f"{kind} it", token, facts)


@pytest.fixture
def recording() -> Recording:
    """Ann dies as a holder, Bob freezes as one, and writes too late."""
    ann, bob, cleo = TOKENS
    return Recording(
        where="Redis 7 & co",
        ttl=2.0,
        cast=["Ann", "Bob", "Cleo"],
        acts=[Act(1, "killed", 0.0), Act(2, "frozen", 4.0)],
        events=[
            event(0.0, "Ann", "taken", ann),
            event(0.1, "Bob", "waiting", place=1),
            event(1.0, "Ann", "killed"),
            event(3.0, "Bob", "taken", bob),
            event(4.0, "Bob", "written", bob, value="100"),
            event(4.5, "Bob", "frozen"),
            event(6.4, "Cleo", "taken", cleo),
            event(7.0, "Bob", "thawed"),
            event(7.0, "Bob", "lost", reason="expired", over=0.7),
            event(7.0, "Bob", "refused", bob, seen=cleo),
        ],
        morals={1: "dead", 2: "late"},
        ended_at=7.2,
        ending="So be it.",
    )


def drawn(recording: Recording) -> ET.Element:
    found = re.search("<svg.*</svg>", page(recording), re.DOTALL)
    assert found is not None
    return ET.fromstring(found[0])  # noqa: S314 - our own


def texts(picture: ET.Element, css: str) -> list[str]:
    found = [e for e in picture.iter(f"{SVG}text") if css in e.get("class", "").split()]
    return ["".join(each.itertext()) for each in found]


def test_spans_tell_who_had_it_and_whose_lease_ran_out(recording: Recording) -> None:
    found = [
        (s.kind, s.who, s.begin, round(s.end, 3), s.token) for s in spans(recording)
    ]
    ann, bob, cleo = TOKENS
    assert found == [
        ("waiting", "Bob", 0.1, 3.0, None),
        ("held", "Ann", 0.0, 1.0, ann),
        ("held", "Bob", 3.0, 6.3, bob),  # its lease ended before it looked
        ("held", "Cleo", 6.4, 7.2, cleo),  # to the end
        ("left", "Ann", 1.0, 3.0, None),  # until somebody else has it
        ("frozen", "Bob", 4.5, 7.0, None),
    ]


def test_every_event_of_the_demo_has_its_kind() -> None:
    assert {kind for kind, _ in STORY} == set(KINDS)
    begun = {kind.begins for kind in KINDS.values()} - {""}
    assert begun == set(SPANS)
    assert {ended for kind in KINDS.values() for ended in kind.ends} <= set(SPANS)


def test_the_picture_shows_tokens_and_the_refusal(recording: Recording) -> None:
    picture = drawn(recording)
    assert texts(picture, "who") == ["Ann", "Bob", "Cleo"] * 2
    shown = " ".join(texts(picture, "label"))
    for token in TOKENS:
        assert f"token …{token % 1_000_000:06d}" in shown
    assert "REFUSED: token …932887 is old" in shown
    assert f"token {TOKENS[1]}" in shown, "whole, where the mouse rests"
    assert texts(picture, "gone") == ["Ann"], "she is dead in the second act"
    kinds = {rect.get("class") for rect in picture.iter(f"{SVG}rect")}
    assert kinds >= set(SPANS)


def test_who_cannot_see_it_is_told(recording: Recording) -> None:
    picture = drawn(recording)
    assert picture.get("role") == "img"
    named = (picture.get("aria-labelledby") or "").split()
    title, story = [next(e for e in picture.iter() if e.get("id") == n) for n in named]
    assert (title.tag, story.tag) == (f"{SVG}title", f"{SVG}desc")
    assert title.text
    assert story.text
    for each in recording.events:
        assert f"{each.at:.2f} s: {each.who} {each.line}" in story.text


def test_it_needs_nothing_else(recording: Recording) -> None:
    text = page(recording)
    assert not re.search(r"<(script|link|img|iframe|object|image)\b", text)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_what_others_wrote_is_text(recording: Recording) -> None:
    recording.cast[0] = "<b>&\x1b[2J"
    recording.events[0] = Happened(0.0, recording.cast[0], "taken", "</svg>", 5)
    recording.acts[0] = Act(1, "<script>", 0.0)
    text = page(recording)
    assert "<b>" not in text
    assert "<script>" not in text
    assert "\x1b" not in text
    assert texts(drawn(recording), "who")[0] == r"<b>&\x1b[2J"


def test_a_kind_that_is_not_known_is_a_dot_with_its_name(recording: Recording) -> None:
    recording.events.append(event(7.1, "Cleo", "pondered", 7))
    picture = drawn(recording)
    assert any(text.startswith("pondered") for text in texts(picture, "of-other"))
    assert (
        len([c for c in picture.iter(f"{SVG}circle") if c.get("class") == "dot"]) == 2
    )


def test_all_is_inside_and_panels_share_a_scale(recording: Recording) -> None:
    shown = panels(recording)
    assert len({panel.scale for panel in shown}) == 1
    assert [b.top - a.top - a.height for a, b in pairwise(shown)] == [0.0]
    picture = drawn(recording)
    for each in picture.iter(f"{SVG}rect"):
        if each.get("class") in SPANS:
            x, width = float(each.get("x", "")), float(each.get("width", ""))
            assert LEFT <= x <= x + width <= WIDTH - RIGHT + 2


def test_a_demo_that_went_wrong_at_once_is_a_page_too() -> None:
    empty = Recording(where="here", ending="no server")
    assert panels(empty) == []
    assert "no server" in page(empty)


def test_labels_of_a_lane_do_not_lie_upon_each_other(recording: Recording) -> None:
    picture = drawn(recording)
    rows: dict[str, list[tuple[float, float]]] = {}
    for each in picture.iter(f"{SVG}text"):
        if "label" in each.get("class", ""):
            x, text = float(each.get("x", "")), each.text or ""
            rows.setdefault(each.get("y", ""), []).append((x, x + 6 * len(text)))
    assert max(len(row) for row in rows.values()) > 1
    for row in rows.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(row)))


# -- by the command -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demo_draws_itself(program: Program) -> None:
    ran = program.run("demo", "--json", "--html", "demo.html")
    assert ran.code == 0, ran.err
    text = (program.directory / "demo.html").read_text("utf-8")
    told = [each for each in ran.objects if "worker" in each and "act" in each]
    assert text.count("<tr><td>") == len(told) == len(STORY)
    assert all(str(each["token"]) in text for each in told if "token" in each)
    assert "REFUSED" in text


def test_a_page_that_cannot_be_written_is_told_at_once(program: Program) -> None:
    said = program.run("demo", "--html", "no/such/place.html").refused(64)
    assert "cannot write no/such/place.html: No such file or directory" in said


def test_a_demo_that_does_not_begin_leaves_the_page_that_was_there(
    program: Program,
) -> None:
    there: Path = program.directory / "demo.html"
    there.write_text("before")
    ran = program.run("demo", "--html", "demo.html", "--url", f"redis://{HOST}:1/0")
    assert ran.code == 69
    assert there.read_text() == "before"
