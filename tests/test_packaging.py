"""What users install: the built archives, read and run, not the tree they came from."""

from __future__ import annotations

import configparser
import email
import email.message
import importlib
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import coordkit

ROOT = Path(__file__).parent.parent
RUN_TIME = {
    "redis[hiredis]>=6,<9",
    "click>=8.5,<9",
    "tenacity>=9,<10",
    "xxhash>=3.6",
}

pytestmark = pytest.mark.slow


def run(*argv: str | Path, **env: str) -> str:
    """Run a program away from the tree; return what it printed."""
    done = subprocess.run(
        [str(arg) for arg in argv],
        cwd=ROOT.anchor,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from it, not from the tree, the wheel."""
    out = tmp_path_factory.mktemp("dist")
    # Without isolation: the build backend is the installed one, so no network.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.Path:
    (path,) = built.glob("*.whl")
    return zipfile.Path(path)


@pytest.fixture(scope="module")
def names(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.Path) -> email.message.Message:
    return email.message_from_string(info_file(wheel, "METADATA"))


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel as an installation would, without its dependencies."""
    target = tmp_path_factory.mktemp("site")
    (path,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", target, path)
    return target


def info_file(wheel: zipfile.Path, name: str) -> str:
    (info,) = (part for part in wheel.iterdir() if part.name.endswith(".dist-info"))
    return (info / name).read_text(encoding="utf-8")


def entry_points(wheel: zipfile.Path, group: str) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read_string(info_file(wheel, "entry_points.txt"))
    return dict(parser[group])


def requirements(
    metadata: email.message.Message, extra: str | None
) -> set[Requirement]:
    found = map(Requirement, metadata.get_all("Requires-Dist", []))
    if extra is None:
        return {r for r in found if r.marker is None}
    return {r for r in found if r.marker and r.marker.evaluate({"extra": extra})}


def test_wheel_brings_two_packages_and_its_own_description(wheel: zipfile.Path) -> None:
    info = f"coordkit-{coordkit.__version__}.dist-info"
    assert {part.name for part in wheel.iterdir()} == {"coordkit", "coordkit_cli", info}


def test_wheel_has_every_file_of_the_packages(names: set[str]) -> None:
    tree = {
        path.relative_to(base).as_posix()
        for base, package in ((ROOT, "coordkit"), (ROOT / "cli", "coordkit_cli"))
        for path in (base / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tree == {name for name in names if ".dist-info/" not in name}


def test_wheel_has_the_scripts_and_the_type_marker(names: set[str]) -> None:
    assert "coordkit/py.typed" in names
    assert {n for n in names if n.startswith("coordkit/_lua/") and n.endswith(".lua")}


def test_needs_exactly_four_packages_at_run_time(
    metadata: email.message.Message,
) -> None:
    assert requirements(metadata, None) == set(map(Requirement, RUN_TIME))


@pytest.mark.parametrize("extra", ["demo", "test"])
def test_extras_add_fakeredis_and_nothing_else(
    metadata: email.message.Message, extra: str
) -> None:
    (fakeredis,) = requirements(metadata, extra)
    assert (fakeredis.name, fakeredis.extras) == ("fakeredis", {"lua"})


def test_schedules_take_one_package_more(metadata: email.message.Message) -> None:
    assert requirements(metadata, "cron") == {
        Requirement("cronsim>=2.6; extra == 'cron'")
    }


def test_there_are_no_other_extras(metadata: email.message.Message) -> None:
    assert metadata.get_all("Provides-Extra") == ["cron", "demo", "test"]


def test_metadata_tells_version_python_and_licence(
    metadata: email.message.Message,
) -> None:
    assert metadata["Version"] == coordkit.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata.get_payload(), "the README is its description"


def test_entry_points_lead_somewhere(wheel: zipfile.Path) -> None:
    assert entry_points(wheel, "console_scripts") == {
        "coordkit": "coordkit_cli.main:main"
    }
    assert entry_points(wheel, "pytest11") == {"coordkit": "coordkit.testing"}
    assert callable(importlib.import_module("coordkit_cli.main").main)
    importlib.import_module("coordkit.testing")


def test_installed_packages_run_without_the_tree(installed: Path) -> None:
    program = "import coordkit, coordkit_cli; print(coordkit.__file__)"
    where = run(sys.executable, "-c", program, PYTHONPATH=str(installed))
    assert Path(where.strip()).is_relative_to(installed)


def test_installed_command_runs_without_the_tree(installed: Path) -> None:
    command = installed / "bin" / "coordkit"
    assert "Usage: coordkit" in run(command, "--help", PYTHONPATH=str(installed))


def test_pytest_plugin_loads_where_fakeredis_is_not_installed() -> None:
    """It is loaded by every pytest of an environment that has coordkit in it."""
    program = "import sys; sys.modules['fakeredis'] = None; import coordkit.testing"
    run(sys.executable, "-c", program)


def test_sdist_has_all_one_needs_to_build_and_to_test(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for entry in [part.removeprefix("/") for part in wanted]:
        inside = any(n == entry or n.startswith(f"{entry}/") for n in names)
        assert inside == (ROOT / entry).exists(), entry
    assert {"LICENSE", "pyproject.toml", "test", "tests/test_packaging.py"} <= names


def test_sdist_has_nothing_that_a_build_or_a_run_left(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    litter = (".venv", "__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache")
    assert [n for n in names if set(litter) & set(n.split("/"))] == []
