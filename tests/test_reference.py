"""The reference of the command line says what `--help` says, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordkit_cli._exit import Exit
from support import matrix, reference

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_what_help_says() -> None:
    there = reference.PAGE.read_text("utf-8")
    assert there == reference.page(), f"type: {reference.TO_MAKE}"


def test_every_command_is_in_it() -> None:
    titles = {" ".join(path) for path, _ in reference.commands()}
    assert {"coordkit", "coordkit lock run", "coordkit cron run"} <= titles
    there = re.findall(r"^## (coordkit.*)$", reference.page(), re.MULTILINE)
    assert sorted(titles) == sorted(there)


def test_every_exit_code_is_in_its_table() -> None:
    table = reference.HEAD.partition("## Exit codes")[2]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ")]
    told = {int(code) for cell in cells for code in re.findall(r"\d+", cell)}
    assert told >= {int(code) for code in Exit}


def test_the_matrix_of_signals_is_what_is_looked_at() -> None:
    page = (ROOT / "docs" / "guard.md").read_text("utf-8")
    there = page.partition("<!-- matrix -->\n")[2].partition("\n<!-- /matrix -->")[0]
    assert there == matrix.table(
        {cell: matrix.expected(*cell) for cell in matrix.CELLS}
    )


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page, as GitHub makes it of its headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title).lower() for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text("utf-8")
    )
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"
