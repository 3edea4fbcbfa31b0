"""
Imports run one way, and the core imports nothing that can block.

    errors <- _core <- _io <- nouns <- coordkit/__init__ <- coordkit_cli

Read with `ast`, so that imports inside functions count too.  What stands under
`if TYPE_CHECKING:` is gone at run time and may point upwards.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
#: What users install and newcomers read; and a table of cases may be longer.
LONGEST_FILE, LONGEST_TEST = 400, 550

#: What could wait, read a clock or draw a random number; or decide in our place.
NOT_IN_CORE = {
    *("multiprocessing", "concurrent", "subprocess", "threading", "asyncio"),
    *("socket", "ssl", "select", "selectors", "queue", "signal", "os"),
    *("time", "random", "secrets", "uuid"),
    *("redis", "hiredis", "fakeredis", "tenacity", "click"),
}
#: They exist beside the package, never in what users install.
NOT_INSTALLED = {"cli", "conftest", "examples", "support", "tests"}


class Import(NamedTuple):
    """One imported module, and whether it is imported when the importer is."""

    module: str
    line: int
    at_once: bool


def sources() -> dict[str, Path]:
    """Return every module that users install, with its file."""
    found: dict[str, Path] = {}
    for base, package in ((ROOT, "coordkit"), (ROOT / "cli", "coordkit_cli")):
        for path in sorted((base / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources()
each_module = pytest.mark.parametrize("module", SOURCES)


def floor(module: str) -> int:
    """Return the floor of one of our modules; it may import from it and below."""
    match module.split("."):
        case ["coordkit", "errors"]:
            return 0
        case ["coordkit", "_core", *_]:
            return 1
        case ["coordkit", "_io", *_]:
            return 2
        case ["coordkit"]:
            return 4
        case ["coordkit_cli", *_]:
            return 5
        case ["coordkit", "testing"]:
            return 6  # for users' tests: nothing of ours leans on it
        case _:
            return 3


def only_for_types(node: ast.AST) -> bool:
    """Whether *node* is an `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    }


def statements(node: ast.AST, *, at_once: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield what runs in *node*, with whether it runs at import."""
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.stmt):
            yield child, at_once
        if isinstance(child, ast.If) and only_for_types(child):
            rest = ast.Module(body=child.orelse, type_ignores=[])
            yield from statements(rest, at_once=at_once)
        else:
            yield from statements(child, at_once=at_once and not later)


def imports(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Yield what *source*, the text of *module*, imports at run time."""
    parts = module.split(".")
    package = parts if is_package else parts[:-1]
    for node, at_once in statements(ast.parse(source), at_once=True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_once)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in SOURCES else base, node.lineno, at_once)


def imports_of(module: str) -> list[Import]:
    path = SOURCES[module]
    is_package = path.name == "__init__.py"
    return list(imports(path.read_text(), module, is_package=is_package))


def top(module: str) -> str:
    return module.partition(".")[0]


def is_ours(module: str) -> bool:
    return top(module) in {"coordkit", "coordkit_cli"}


def test_there_are_modules_on_every_floor_of_the_library() -> None:
    assert {0, 1, 2, 3, 4} <= {floor(module) for module in SOURCES}


@each_module
def test_module_imports_from_its_floor_and_below(module: str) -> None:
    upwards = [
        f"line {found.line}: {found.module}"
        for found in imports_of(module)
        if is_ours(found.module) and floor(found.module) > floor(module)
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {
            found.module
            for found in imports_of(module)
            if is_ours(found.module) and found.at_once and found.module != module
        }
        for module in SOURCES
    }
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


@each_module
def test_module_does_not_lean_on_what_is_not_installed(module: str) -> None:
    used = {top(found.module) for found in imports_of(module)}
    assert not used & NOT_INSTALLED


@pytest.mark.parametrize("module", [m for m in SOURCES if floor(m) <= 1])
def test_core_imports_nothing_that_can_block(module: str) -> None:
    used = {top(found.module) for found in imports_of(module)}
    assert not used & NOT_IN_CORE


def test_core_brings_no_redis_and_no_event_loop_with_it() -> None:
    """What it imports may import more: so it is imported, without coordkit/__init__."""
    core = [module for module in SOURCES if floor(module) <= 1]
    program = f"""
import importlib, sys, types
package = sys.modules["coordkit"] = types.ModuleType("coordkit")
package.__path__ = [{str(ROOT / "coordkit")!r}]
before = set(sys.modules)
for module in {core!r}:
    importlib.import_module(module)
print(*sorted({{"redis", "asyncio", "socket", "ssl"}} & (set(sys.modules) - before)))
"""
    argv = [sys.executable, "-I", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@each_module
def test_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(SOURCES[module].read_text()))


def test_no_file_is_longer_than_one_cares_to_read() -> None:
    folders = ("coordkit", "cli", "examples", "tests")
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {p: size for p, size in sizes.items() if size > _longest(p)} == {}


def _longest(path: str) -> int:
    return LONGEST_TEST if path.startswith("tests") else LONGEST_FILE


# -- the reader itself ------------------------------------------------------------


def read(source: str, module: str = "coordkit.lock") -> list[str]:
    return [found.module for found in imports(source, module, is_package=False)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path, time", ["os.path", "time"]),
        ("from . import errors", ["coordkit.errors"]),
        ("from .errors import LeaseLost", ["coordkit.errors"]),
        ("from . import __version__", ["coordkit"]),
        ("from coordkit import Session", ["coordkit"]),
        ("def f():\n    import time", ["time"]),
        ("try:\n    import a\nexcept ImportError:\n    import b", ["a", "b"]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", ["b"]),
        ("class C:\n    if typing.TYPE_CHECKING:\n        import a", []),
    ],
)
def test_reader_finds_what_is_imported_at_run_time(
    source: str, expected: list[str]
) -> None:
    assert expected == read(source)


def test_reader_knows_what_is_imported_later() -> None:
    source = "import a\ndef f():\n    import b"
    found = imports(source, "coordkit.lock", is_package=False)
    assert [(i.module, i.at_once) for i in found] == [("a", True), ("b", False)]


def test_reader_resolves_names_from_the_package_of_the_module() -> None:
    assert read("from ..errors import X", "coordkit._core.ops") == ["coordkit.errors"]
    inside = imports("from .errors import X", "coordkit", is_package=True)
    assert [found.module for found in inside] == ["coordkit.errors"]


def test_floors_rise() -> None:
    house = [
        "coordkit.errors",
        "coordkit._core.ops",
        "coordkit._io.aio",
        "coordkit.lock",
        "coordkit",
        "coordkit_cli.main",
        "coordkit.testing",
    ]
    assert [floor(module) for module in house] == list(range(7))
