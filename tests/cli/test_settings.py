"""Where settings come from, which of them counts, and what is said of a bad one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli.program import Program
from coordkit import Session
from support.servers import RedisServer


def chosen(program: Program, *args: str, env: dict[str, str] | None = None) -> str:
    """Return what -v tells about the settings that were chosen."""
    (told,) = program.run("-v", "lock", "list", *args, env=env).err.splitlines()
    return told.removeprefix("coordkit: ")


@pytest.fixture
def everywhere(program: Program, server: RedisServer) -> Program:
    """A program to which every place names another database and namespace."""
    places = {
        "REDIS_URL": server.url.replace("/0", "/2"),
        "COORDKIT_URL": server.url.replace("/0", "/1"),
        "COORDKIT_NAMESPACE": "of-env",
    }
    program.env |= places
    user = program.home / "settings" / "coordkit"
    user.mkdir(parents=True)
    program.env["XDG_CONFIG_HOME"] = str(user.parent)
    for directory, db in ((program.directory, 3), (user, 4)):
        url = server.url.replace("/0", f"/{db}")
        text = f"url = '{url}'\nnamespace = 'of-{db}'\n"
        (directory / "coordkit.toml").write_text(text)
    return program


def test_settings_come_from_the_nearest_place(
    everywhere: Program, server: RedisServer
) -> None:
    user = Path(everywhere.env["XDG_CONFIG_HOME"]) / "coordkit" / "coordkit.toml"
    url = server.url.removesuffix("0")
    told = chosen(everywhere, "--url", f"{url}9", "--namespace", "typed")
    assert told == f"{url}9 (from --url), namespace typed (from --namespace)"
    told = chosen(everywhere)
    names = "namespace of-env (from COORDKIT_NAMESPACE)"
    assert told == f"{url}1 (from COORDKIT_URL), {names}"
    everywhere.env["COORDKIT_URL"] = ""  # empty is not set
    assert chosen(everywhere) == f"{url}2 (from REDIS_URL), {names}"
    del everywhere.env["REDIS_URL"], everywhere.env["COORDKIT_NAMESPACE"]
    told = "coordkit.toml), namespace of-3 (from namespace in coordkit.toml)"
    assert chosen(everywhere) == f"{url}3 (from url in {told}"
    (everywhere.directory / "coordkit.toml").write_text("namespace = 'mixed'")
    names = "namespace mixed (from namespace in coordkit.toml)"
    assert chosen(everywhere) == f"{url}4 (from url in {user}), {names}"
    (everywhere.directory / "coordkit.toml").unlink()
    names = f"namespace of-4 (from namespace in {user})"
    assert chosen(everywhere) == f"{url}4 (from url in {user}), {names}"


@pytest.mark.skipif(sys.platform != "linux", reason="the place is the system's")
def test_the_users_settings_are_found_without_xdg(
    everywhere: Program, server: RedisServer
) -> None:
    for name in ("COORDKIT_URL", "REDIS_URL", "COORDKIT_NAMESPACE", "XDG_CONFIG_HOME"):
        del everywhere.env[name]
    (everywhere.directory / "coordkit.toml").unlink()
    (everywhere.home / "settings").rename(everywhere.home / ".config")
    assert "namespace of-4" in chosen(everywhere)


def test_a_url_may_stand_in_a_file(everywhere: Program, server: RedisServer) -> None:
    url = server.url.removesuffix("0")
    (everywhere.directory / "secret").write_text(f"{url}5\nmore\n")
    told = chosen(everywhere, "--url-file", "secret")
    assert told.startswith(f"{url}5 (from --url-file), ")
    del everywhere.env["COORDKIT_URL"]
    told = chosen(everywhere, env={"COORDKIT_URL_FILE": "secret"})
    assert told.startswith(f"{url}5 (from COORDKIT_URL_FILE), ")


def test_a_file_of_settings_names_a_file_beside_itself(
    program: Program, server: RedisServer
) -> None:
    user = program.home / ".config" / "coordkit"
    user.mkdir(parents=True)
    (user / "coordkit.toml").write_text("url_file = 'secret'")
    (user / "secret").write_text(server.url)
    program.env["XDG_CONFIG_HOME"] = str(user.parent)
    assert chosen(program).startswith(f"{server.url} (from url_file in {user}")


def test_options_may_stand_before_and_after_the_command(
    coordkit: Program, session: Session
) -> None:
    with session.lock("x").acquire():
        for args in (
            ["--json", "--namespace", "default", "lock", "list"],
            ["lock", "list", "--namespace", "default", "--json"],
            ["--namespace", "other", "lock", "list", "--json", "--namespace=default"],
        ):
            (found,) = coordkit.run(*args).objects
            assert found["name"] == "x"
    assert coordkit.run("lock", "list", "--namespace", "other").out == ""


def test_no_password_is_ever_shown(program: Program, server: RedisServer) -> None:
    at = server.url.partition("//")[2]
    ran = program.run("-v", "lock", "list", "--url", f"redis://:se-cret@{at}")
    assert ran.code == 77
    assert "se-cret" not in ran.err
    ran = program.run("-vv", "lock", "list", "--url", f"redis://shop:pw@{at}")
    assert "shop:***@" in ran.err


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"COORDKIT_URL": "localhost:6379"},
            "COORDKIT_URL: 'localhost:6379' is not a URL",
        ),
        ({"REDIS_URL": "redis://:se/cr?et@h:x"}, "REDIS_URL: "),
        ({"COORDKIT_NAMESPACE": "a b"}, "COORDKIT_NAMESPACE: namespace 'a b'"),
        ({"COORDKIT_URL_FILE": "none"}, "COORDKIT_URL_FILE: cannot read none: No such"),
        ({"COORDKIT_URL_FILE": "."}, "COORDKIT_URL_FILE: cannot read"),
        (
            {"COORDKIT_URL": "redis://h", "COORDKIT_URL_FILE": "f"},
            "COORDKIT_URL and COORDKIT_URL_FILE are both given",
        ),
    ],
)
def test_a_bad_setting_is_78_and_named(
    program: Program, env: dict[str, str], says: str
) -> None:
    said = program.run("lock", "list", env=env).refused(78)
    assert says in said
    assert "cr?et" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("url = ", "coordkit.toml is no TOML"),
        (
            "ulr = 'redis://h'",
            "unknown key 'ulr' in coordkit.toml: url, url_file, namespace",
        ),
        ("namespace = 3", "namespace in coordkit.toml is a text"),
        ("url = 'redis://h'\nurl_file = 'f'", "are both given"),
        ("url_file = 'none'", "url_file in coordkit.toml: cannot read none"),
        ("url = 'nonsense'", "url in coordkit.toml: the Redis URL has no '://'"),
    ],
)
def test_a_bad_file_of_settings_is_78_and_named(
    program: Program, text: str, says: str
) -> None:
    (program.directory / "coordkit.toml").write_text(text)
    assert says in program.run("lock", "list").refused(78)
