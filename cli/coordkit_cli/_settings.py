"""
Where Redis is and how to speak, from the command line, the environment and files.

An option beats ``COORDKIT_*``, which beats ``REDIS_URL``, which beats the files
``coordkit.toml`` (in the working directory, then in the user's directory for
settings), which beat the default.  Of `url` and `url_file` each place may name one.
Nothing is read before a command asks.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import click

from ._exit import Exit, Failure
from ._output import note

if TYPE_CHECKING:
    from coordkit import Session

DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_NAMESPACE = "default"
FILE = "coordkit.toml"
KEYS = ("url", "url_file", "namespace")
#: Tells a command that its guard knew a URL, lest it takes another server for ours.
WITHHELD = "COORDKIT_URL_WITHHELD"


class Setting(NamedTuple):
    """A value, and what it was said by; *explicit*: by an option or the environment."""

    value: str
    source: str
    explicit: bool


class Place(NamedTuple):
    """One place where settings may stand; *directory* is what its paths start from."""

    values: Mapping[str, str]
    #: what to call a key of it in a message
    names: Mapping[str, str]
    explicit: bool
    directory: str


@dataclass
class Settings:
    """What the user has said, as far as it is needed."""

    #: what stood on the command line, by key
    options: dict[str, str] = field(default_factory=dict[str, str])
    #: what had named the server that was asked
    source: str = ""
    as_json: bool = False
    loudness: int = 0

    @property
    def quiet(self) -> bool:
        """Whether to say nothing but errors, and the data."""
        return self.loudness < 0

    @property
    def url(self) -> Setting:
        """Where Redis is."""
        for place in self._places:
            found = _url_in(place)
            if found is not None and (found.explicit or WITHHELD not in os.environ):
                return found
        if WITHHELD in os.environ:
            raise Failure(
                "the URL was left out of the environment of this command: give `run` a "
                "--url-file, or --pass-url, or this command a --url",
                Exit.CONFIG,
            )
        return Setting(DEFAULT_URL, "the default", explicit=False)

    @property
    def namespace(self) -> Setting:
        """Which names are ours."""
        for place in self._places:
            if value := place.values.get("namespace"):
                return Setting(value, place.names["namespace"], place.explicit)
        return Setting(DEFAULT_NAMESPACE, "the default", explicit=False)

    @cached_property
    def _places(self) -> list[Place]:
        options = {key: "--" + key.replace("_", "-") for key in KEYS}
        ours = {key: f"COORDKIT_{key.upper()}" for key in KEYS}
        users = os.path.join(click.get_app_dir("coordkit"), FILE)
        return [
            Place(self.options, options, explicit=True, directory=""),
            _environment(ours),
            _environment({"url": "REDIS_URL"}),
            *map(_file, (FILE, users)),
        ]

    @contextmanager
    def session(
        self, *, url: str = "", namespace: str = "", identity: str | None = None
    ) -> Generator[Session]:
        """Open a session as the settings say; *url* and *namespace* overrule them."""
        from coordkit import Session
        from coordkit._core.keys import check_namespace

        from . import _log

        _log.listen(self.loudness)
        name = Setting(namespace, "it", explicit=True) if namespace else self.namespace
        where = Setting(url, "it", explicit=True) if url else self.url
        try:
            check_namespace(name.value)
        except ValueError as error:
            raise Failure(f"{name.source}: {error}", Exit.CONFIG) from None
        try:
            session = Session(where.value, namespace=name.value, identity=identity)
        except ValueError as error:
            raise Failure(f"{where.source}: {error}", Exit.CONFIG) from None
        self.source = where.source
        if self.loudness > 0 and not namespace:
            address = session.address
            note(
                f"{address} (from {where.source}), namespace {name.value} "
                f"(from {name.source})"
            )
        with session:
            yield session


def _environment(names: Mapping[str, str]) -> Place:
    values = {key: os.environ.get(name, "") for key, name in names.items()}
    return Place(values, names, explicit=True, directory="")


def _file(path: str) -> Place:
    """Return what the file at *path* says; nothing if there is none."""
    import tomllib

    names = {key: f"{key} in {path}" for key in KEYS}
    try:
        with open(path, encoding="utf-8") as file:
            said = tomllib.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        said = {}
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", Exit.CONFIG) from None
    except ValueError as error:
        raise Failure(f"{path} is no TOML: {error}", Exit.CONFIG) from None
    for key, value in said.items():
        if key not in KEYS:
            allowed = ", ".join(KEYS)
            raise Failure(f"unknown key {key!r} in {path}: {allowed}", Exit.CONFIG)
        if not isinstance(value, str):
            raise Failure(f"{names[key]} is a text: write it in quotes", Exit.CONFIG)
    return Place(said, names, explicit=False, directory=os.path.dirname(path))


def _url_in(place: Place) -> Setting | None:
    """Return the URL that *place* names, itself or in a file."""
    values, names = place.values, place.names
    url, file = values.get("url", ""), values.get("url_file", "")
    if url and file:
        raise Failure(
            f"{names['url']} and {names['url_file']} are both given: leave one out",
            Exit.USAGE if names["url"] == "--url" else Exit.CONFIG,
        )
    if url:
        return Setting(url, names["url"], place.explicit)
    if file:
        return Setting(_read(place, file), names["url_file"], place.explicit)
    return None


def _read(place: Place, file: str) -> str:
    """Return the first line of the file that holds the URL."""
    path, source = os.path.join(place.directory, file), place.names["url_file"]
    try:
        with open(path, encoding="utf-8") as opened:
            lines = opened.read().splitlines()
    except OSError as error:
        raise Failure(
            f"{source}: cannot read {path}: {error.strerror}", Exit.CONFIG
        ) from None
    except ValueError:
        raise Failure(f"{source}: {path} is not UTF-8", Exit.CONFIG) from None
    url = lines[0].strip() if lines else ""
    if not url:
        raise Failure(f"{source}: the first line of {path} is empty", Exit.CONFIG)
    return url
