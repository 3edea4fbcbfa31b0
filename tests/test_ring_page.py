"""docs/ring.md, for other languages: every number on it, and its command, by redis-cli."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh64_intdigest

from coordkit import Session
from coordkit._core.keys import bucket_of, news_channel, ring_keys
from coordkit._core.ring_node import Node
from coordkit._core.ring_place import hashed
from coordkit._core.ring_slot import slot_of
from support.servers import RedisServer

PAGE = (Path(__file__).parent.parent / "docs" / "ring.md").read_text("utf-8")
CLI = shutil.which("redis-cli") or shutil.which("valkey-cli")


def rows(title: str) -> list[list[str]]:
    """The rows of the table under the heading that begins with *title*."""
    table = PAGE.split(f"\n## {title}")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def test_the_golden_vectors() -> None:
    keys = {"(empty)": "", "`a` × 100": "a" * 100}
    vectors = rows("Where a key falls")
    assert len(vectors) == 4
    for shown, digest, *slots in vectors:
        key = keys.get(shown, shown.strip("`"))
        assert f"`{xxh64_intdigest(key.encode()):016x}`" == digest
        assert [int(slot) for slot in slots] == [
            slot_of(key, 2**bits) for bits in (10, 14, 20)
        ]


def test_the_keys() -> None:
    assert f"the bucket is `{bucket_of('shards'):02x}`" in PAGE
    assert ring_keys("default", "shards").points in PAGE
    kinds = {kind for row in rows("What is stored") for kind in row[0].split(", ")}
    fields = dataclasses.asdict(ring_keys("ns", "x"))
    live = fields.pop("live")
    live.pop("turn")  # no balancer picks among them
    every = map(str, (*fields.values(), *live.values()))
    assert kinds == {f"`{key.split(':')[4]}`" for key in every if ":x" in key}
    assert "`ck:1:<namespace>:news:ring:<name>`" in PAGE
    assert news_channel("<namespace>", "ring", "<name>") in PAGE


def test_the_fields_of_meta(server: RedisServer) -> None:
    with Session(server.url) as session, server.client(decode_responses=True) as client:
        session.ring("meta").add("a")
        stored = client.hgetall(ring_keys("default", "meta").meta)
    told = re.findall(r"`([a-z]+)`", rows("What is stored")[0][2])
    assert set(told) == set(stored)
    assert (stored["hash"], stored["format"]) == ("xxh64", "1")


def test_the_hashed_ring() -> None:
    (row,) = rows("Hashed rings")
    owners = hashed([Node(name) for name in "abc"], 1024)
    assert re.findall("`(.)`", row[1]) == ["abc"[owner] for owner in owners[:16]]


@pytest.mark.skipif(
    CLI is None, reason="needs redis-cli or valkey-cli, which come with most servers"
)
def test_the_one_command(server: RedisServer) -> None:
    """As it stands on the page; then for other keys, one of a name with colons."""
    block = PAGE.split("valkey-cli -->\n```sh\n")[1].split("```")[0]
    words = shlex.split(block.replace("\\\n", ""))
    assert words[:2] == ["redis-cli", "-u"]
    words[0], words[2] = str(CLI), server.url
    place = words.index(str(slot_of("user:42", 2**14)))
    with Session(server.url) as session:
        ring = session.ring("shards")
        ring.add({"cache-1": 1.0, "10.0.0.3:6379": 2.0, "[::1]:80": 1.0})
        for key in ("user:42", "", "ключ", "a" * 100, *map(str, range(20))):
            words[place] = str(slot_of(key, 2**14))
            ran = subprocess.run(words, capture_output=True, text=True, check=True)
            (point,) = ran.stdout.splitlines()
            assert point.partition(":")[2] == ring.owner(key)
