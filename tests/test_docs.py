"""
Every code block of README.md and docs/*.md runs.

The blocks of one file are a story: its ``python`` blocks share one namespace, in one
process; its ``sh`` and ``console`` blocks run one after the other in one directory.
Both stories have a Redis server of their own: it is put where the text says
`redis://localhost:6379`, and into COORDKIT_URL.

In front of a block, a comment that readers do not see may change how it runs::

    <!-- test: skip needs Docker -->       not at all, and why
    <!-- test: async -->                   a python block with `await` at its top (it may
                                           have it without being marked, too)
    <!-- test: pytest -->                  a python block that holds tests
    <!-- test: postgresql -->              an sh or sql block that needs PostgreSQL: where
                                           that is installed, with a server of its own

What is not to be run is ``text``, ``json``, ``toml`` or the like.  In what others read,
``crontab``, ``ini``, ``dockerfile`` and ``yaml``, the commands of coordkit are parsed, as
if they were typed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from coordkit_cli._settings import Settings
from coordkit_cli.main import root
from support import postgresql
from support.servers import RedisServer

ROOT = Path(__file__).parent.parent
# A story that takes longer bores its reader, or hangs.
LONGEST_STORY = 120
PYTHON = {"python"}
SHELL = {"sh", "console"}
SQL = {"sql"}
READ_BY_OTHERS = {"crontab", "ini", "dockerfile", "yaml"}
NOT_RUN = {"text", "json", "toml", "lua", "mermaid"}
KNOWN = PYTHON | SHELL | SQL | READ_BY_OTHERS | NOT_RUN
DEFAULT_URL = re.compile(r"redis://(localhost|127\.0\.0\.1)(:6379)?(/0)?(?![\w:/])")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
_ORDER = re.compile(r"<!--\s*test:\s*(?P<verb>\w+)\s*(?P<rest>.*?)\s*-->")


class Block(NamedTuple):
    """A fenced block: its language, its text, and how it runs."""

    file: str
    line: int
    language: str
    text: str
    verb: str
    reason: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


class BadDocument(Exception):
    """A block cannot be read, or nobody knows how to run it."""


def blocks(text: str, file: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown text; raise `BadDocument` at a slip."""
    lines = iter(enumerate(text.splitlines(), start=1))
    order = ("", "")
    for number, line in lines:
        if found := _ORDER.search(line):
            order = (found["verb"], found["rest"])
        elif opening := _FENCE.match(line):
            language = opening["info"].strip()
            body = "\n".join(_body(lines, opening, f"{file}:{number}"))
            block = Block(file, number, language, textwrap.dedent(body), *order)
            yield checked(block)
            order = ("", "")
        elif line.strip() and order[0]:
            raise BadDocument(f"{file}:{number}: an order without a block behind it")


def _body(
    lines: Iterator[tuple[int, str]], opening: re.Match[str], where: str
) -> Iterator[str]:
    for _, line in lines:
        closing = _FENCE.match(line)
        if closing and closing["ticks"].startswith(opening["ticks"]):
            return
        yield line
    raise BadDocument(f"{where}: a block that never ends")


def checked(block: Block) -> Block:
    """Return *block* if it is clear how to run it."""
    if block.language not in KNOWN:
        known = ", ".join(sorted(KNOWN))
        raise BadDocument(f"{block.where}: {block.language!r} is none of {known}")
    if block.language in SQL and block.verb not in ("postgresql", "skip"):
        raise BadDocument(f"{block.where}: nobody knows whose sql it is")
    match block.verb:
        case "skip" if not block.reason:
            raise BadDocument(f"{block.where}: skipped without a reason")
        case "" | "skip":
            return block
        case "async" | "pytest" if block.language in PYTHON:
            return block
        case "postgresql" if block.language in SHELL | SQL:
            return block
        case other:
            raise BadDocument(f"{block.where}: {other!r} is no order for such a block")


def commands(block: Block) -> str:
    """Return the shell script of a block: all of it, or what follows the prompts."""
    if block.language == "sh":
        return block.text
    typed: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            typed.append(line[2:])
        elif typed and typed[-1].endswith("\\"):
            typed.append(line.removeprefix("> "))
    if not typed:
        raise BadDocument(f"{block.where}: a console without a line that begins with $")
    return "\n".join(typed)


def documents() -> list[str]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    return [str(path.relative_to(ROOT)) for path in found if path.exists()]


def to_run(file: str, languages: Iterable[str]) -> list[Block]:
    """Return the blocks of *file* in these languages that are not skipped."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = list(blocks(text, file))
    return [b for b in found if b.language in languages and b.verb != "skip"]


def typed(block: Block) -> Iterator[list[str]]:
    """Yield the commands of coordkit in what others read, as words behind its name."""
    if block.language == "yaml":
        for document in yaml.safe_load_all(block.text):
            yield from _in_containers(document)
        return
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        found = re.search(r"(?:^|[\s=/])coordkit(?: +(.*))?$", line)
        listed = re.search(r'(\["coordkit".*\])$', line)
        if listed is not None:
            yield json.loads(listed[1])[1:]
        elif found is not None and not line.lstrip().startswith("#"):
            yield shlex.split(found[1] or "")


def _in_containers(value: Any) -> Iterator[list[str]]:
    if isinstance(value, dict):
        words = [*value.get("command", ()), *value.get("args", ())]
        if words[:1] == ["coordkit"]:
            yield words[1:]
        for inner in value.values():
            yield from _in_containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _in_containers(inner)


def parse(words: list[str]) -> click.Command:
    """Return the command that is meant; `click.UsageError` if it could not be typed."""
    ctx = root.make_context("coordkit", list(words), obj=Settings())
    command: click.Command = root
    while isinstance(command, click.Group):
        rest = [*ctx._protected_args, *ctx.args]
        name, found, rest = command.resolve_command(ctx, rest)
        assert name is not None and found is not None
        command = found
        ctx = command.make_context(name, rest, parent=ctx)
    return command


def needs_postgresql(file: str) -> bool:
    return any(block.verb == "postgresql" for block in to_run(file, SHELL | SQL))


each_document = pytest.mark.parametrize("file", documents())

# Runs the blocks it reads from standard input, with the lines of the document in the
# traceback, and nothing of the tests in the process.
STORYTELLER = """
import ast, asyncio, inspect, json, sys
namespace = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for file, line, text in json.load(sys.stdin):
        source = "\\n" * line + text
        code = compile(source, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            runner.run(result)
"""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory that looks like the project's root to a story."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if cli is not None:  # where there is only Valkey, it is called otherwise
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "redis-cli").symlink_to(cli)
    return tmp_path


def tell(argv: list[str], place: Path, url: str, given: str = "", **more: str) -> None:
    """Run one program of a story; fail with all it said."""
    env = os.environ | more | {"COORDKIT_URL": url, "HOME": str(place)}
    ours = (str(Path(sys.executable).parent), env["PATH"], str(place / "bin"))
    env["PATH"] = os.pathsep.join(ours)
    done = subprocess.run(
        argv,
        cwd=place,
        env=env,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_STORY,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def local(text: str, url: str) -> str:
    """Return *text* with our server in place of the usual one."""
    return DEFAULT_URL.sub(url, text)


@each_document
def test_blocks_can_be_read(file: str) -> None:
    list(blocks((ROOT / file).read_text(encoding="utf-8"), file))


@pytest.mark.slow
@each_document
def test_python_of(file: str, server: RedisServer, place: Path) -> None:
    story = [b for b in to_run(file, PYTHON) if b.verb != "pytest"]
    told = [(str(ROOT / b.file), b.line, local(b.text, server.url)) for b in story]
    tell([sys.executable, "-c", STORYTELLER], place, server.url, json.dumps(told))


@pytest.mark.slow
@each_document
def test_tests_of(file: str, server: RedisServer, place: Path) -> None:
    for block in to_run(file, PYTHON):
        if block.verb == "pytest":
            (place / "test_of_the_document.py").write_text(
                local(block.text, server.url)
            )
            tell([sys.executable, "-m", "pytest", "-q"], place, server.url)


@pytest.mark.slow
@each_document
def test_shell_of(file: str, server: RedisServer, place: Path) -> None:
    for block in to_run(file, SHELL):
        if block.verb != "postgresql":
            run_shell(block, server, place)


def run_shell(block: Block, server: RedisServer, place: Path, **env: str) -> None:
    script = local(commands(block), server.url)
    tell(["bash", "-euo", "pipefail", "-c", script], place, server.url, **env)


@pytest.mark.slow
@pytest.mark.parametrize("file", [f for f in documents() if needs_postgresql(f)])
def test_postgresql_of(file: str, server: RedisServer, place: Path) -> None:
    found = postgresql.programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with postgresql.PostgreSQL(found) as database:
        for block in to_run(file, SHELL | SQL):
            if block.language in SQL:
                argv = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
                tell(argv, place, server.url, block.text, **database.env)
            elif block.verb == "postgresql":
                run_shell(block, server, place, **database.env)


@each_document
def test_what_others_read_could_be_typed(file: str) -> None:
    for block in to_run(file, READ_BY_OTHERS):
        for words in typed(block):
            try:
                parse(words)
            except click.UsageError as error:
                raise AssertionError(f"{block.where}: {error.message}") from None


# -- the reader itself ------------------------------------------------------------


def read(text: str) -> list[Block]:
    return list(blocks(textwrap.dedent(text), "x.md"))


def test_reader_keeps_text_and_line() -> None:
    (block,) = read("""
        Then:

          ```python
          if a:
              b
          ```
        """)
    assert (block.text, block.where) == ("if a:\n    b", "x.md:4")


def test_reader_sees_fences_inside_longer_fences() -> None:
    (block,) = read("""
        ````text
        ```python
        ```
        ````
        """)
    assert block.text == "```python\n```"


def test_an_order_is_for_one_block() -> None:
    first, second = read("""
        <!-- test: skip needs Docker -->

        ```sh
        docker compose up
        ```
        ```sh
        true
        ```
        """)
    assert (first.verb, first.reason) == ("skip", "needs Docker")
    assert second.verb == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- test: skip -->\n```sh\n```", "without a reason"),
        ("<!-- test: skipp it -->\n```sh\n```", "no order"),
        ("<!-- test: async -->\n```sh\n```", "no order"),
        ("<!-- test: skip it -->\ntext", "without a block"),
        ("```bash\n```", "none of"),
        ("```\n```", "none of"),
        ("```sql\n```", "whose sql"),
        ("<!-- test: postgresql -->\n```python\n```", "no order"),
        ("```sh\ntrue", "never ends"),
    ],
)
def test_reader_refuses(text: str, complaint: str) -> None:
    with pytest.raises(BadDocument, match=complaint):
        read(text)


def test_console_types_what_follows_the_prompt() -> None:
    (block,) = read("""
        ```console
        $ coordkit lock run x \\
        >   -- true
        said: yes
        $ true
        ```
        """)
    assert commands(block).split("\n") == [
        "coordkit lock run x \\",
        "  -- true",
        "true",
    ]


def test_console_without_a_prompt_is_refused() -> None:
    (block,) = read("```console\ntrue\n```")
    with pytest.raises(BadDocument, match="begins with"):
        commands(block)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Session('redis://localhost:6379/0')", "Session('OURS')"),
        ("redis://127.0.0.1:6379", "OURS"),
        ("redis://localhost,", "OURS,"),
        ("redis://localhost:6380/0", "redis://localhost:6380/0"),
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        ("redis://localhostess", "redis://localhostess"),
    ],
)
def test_only_the_usual_server_is_replaced(text: str, expected: str) -> None:
    assert local(text, "OURS") == expected


def test_story_shares_names_awaits_and_shows_the_line_of_the_document(
    tmp_path: Path,
) -> None:
    story: list[tuple[str, int, str]] = [
        ("x.md", 3, "import asyncio\nn = 1"),
        ("x.md", 9, "n += await asyncio.sleep(0, 1)\nassert n == 2"),
    ]
    argv = [sys.executable, "-c", STORYTELLER]
    tell(argv, tmp_path, "redis://nowhere", json.dumps(story))
    wrong = [*story, ("x.md", 20, "\nn.nothing")]
    with pytest.raises(AssertionError, match=r'"x.md", line 22'):
        tell(argv, tmp_path, "redis://nowhere", json.dumps(wrong))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "```crontab\n# coordkit nope\n0 3 * * * coordkit cron run x -- a 'b c'\n```",
            [["cron", "run", "x", "--", "a", "b c"]],
        ),
        (
            "```ini\nExecStart=/usr/bin/coordkit lock run x \\\n  -- a\n```",
            [["lock", "run", "x", "--", "a"]],
        ),
        ('```dockerfile\nENTRYPOINT ["coordkit", "doctor"]\n```', [["doctor"]]),
        (
            "```yaml\nspec:\n  - command: [coordkit]\n    args: [lock, list]\n```",
            [["lock", "list"]],
        ),
    ],
)
def test_reader_finds_commands_in_what_others_read(
    text: str, expected: list[list[str]]
) -> None:
    (block,) = read(text)
    assert list(typed(block)) == expected


def test_parser_refuses_what_could_not_be_typed() -> None:
    assert parse(["cron", "run", "x", "--every", "1d", "--", "a"]).name == "run"
    for words in (["cron", "run", "--nope", "x", "a"], ["nope"], ["lock", "show"]):
        with pytest.raises(click.UsageError):
            parse(words)
