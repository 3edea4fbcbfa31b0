"""`coordkit balance pick`: a live member of a group, for the shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cli.program import Program
from cli.test_lock import complete
from coordkit import Session
from coordkit._core.balance import STRATEGIES
from coordkit_cli import balance
from support.servers import HOST

GROUP = "workers"


@pytest.fixture
def members(session: Session) -> Iterator[dict[str, Any]]:
    """Two members, of which the second is busy, and one that is draining."""
    with ExitStack() as stack:
        joined: dict[str, Any] = {
            name: stack.enter_context(
                session.group(GROUP).join(name, load=load, meta={"addr": f"{name}:80"})
            )
            for name, load in (("w1", 0.0), ("w2", 9.0), ("w3", 0.0))
        }
        joined["w3"].report(draining=True)
        yield joined


def test_the_strategies_are_those_of_the_library() -> None:
    assert balance.STRATEGIES == STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_live_member_is_picked(
    coordkit: Program, members: dict[str, Any], strategy: str
) -> None:
    key = ["--key", "user:42"] if strategy == "ring" else []
    pick = ("balance", "pick", GROUP, "--strategy", strategy, *key)
    ran = coordkit.run(*pick)
    assert ran.code == 0
    assert ran.out in ("w1\n", "w2\n")
    assert coordkit.run(*pick, "--exclude", ran.out.strip()).out in ("w1\n", "w2\n")
    other = {"w1": "w2", "w2": "w1"}[ran.out.strip()]
    assert coordkit.run(*pick, "--exclude", ran.out.strip()).out == f"{other}\n"


def test_the_less_loaded_unless_told_otherwise(
    coordkit: Program, members: dict[str, Any]
) -> None:
    for _ in range(3):
        assert coordkit.run("balance", "pick", GROUP).out == "w1\n"


def test_processes_take_turns(coordkit: Program, members: dict[str, Any]) -> None:
    pick = ("balance", "pick", GROUP, "--strategy", "round_robin")
    found = [coordkit.run(*pick).out for _ in range(4)]
    assert found[:2] == found[2:]
    assert set(found) == {"w1\n", "w2\n"}


def test_what_a_member_tells_is_shown(
    coordkit: Program, members: dict[str, Any]
) -> None:
    members["w1"].report(meta={"addr": "10.0.0.7:80", "n": [1, "\x1b[2J"]})
    pick = ("balance", "pick", GROUP, "--exclude", "w2")
    assert coordkit.run(*pick, "--show", "addr").out == "10.0.0.7:80\n"
    shown = coordkit.run(*pick, "--show", "n").out
    assert shown == '[1,"\\u001b[2J"]\n'
    says = coordkit.run(*pick, "--show", "port").refused(1)
    assert "w1 does not tell 'port', but addr, n" in says


def test_a_member_as_json(coordkit: Program, members: dict[str, Any]) -> None:
    ran = coordkit.run("balance", "pick", GROUP, "--json", "--exclude", "w2")
    (told,) = ran.objects
    assert 0 < told.pop("expires_in") <= 10
    assert told.pop("suspicion") >= 0
    assert told.pop("since") > 1e9
    assert told == {
        "v": 1,
        "group": GROUP,
        "identity": "w1",
        "token": members["w1"].token,
        "weight": 1.0,
        "capacity": None,
        "load": 0.0,
        "zone": "",
        "meta": {"addr": "w1:80"},
    }


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (
            ["nobody"],
            1,
            "nobody of the group 'nobody' can be picked: it has no members",
        ),
        (
            [GROUP, "--exclude", "w1", "--exclude", "w2"],
            1,
            "of its 3 members are 1 draining, 2 excluded",
        ),
        ([GROUP, "--strategy", "best"], 64, "'best' is not one of 'random', 'round"),
        ([GROUP, "--strategy", "ring"], 64, "the strategy ring needs a --key"),
        ([GROUP, "--key", "a"], 64, "two_choices takes no --key: only ring does"),
        ([GROUP, "--exclude", ""], 64, "excluded identity '' is 0 bytes long"),
        (["\x1b"], 64, "control character"),
        ([], 64, "Missing argument 'GROUP'"),
    ],
)
def test_nobody_can_be_picked(
    coordkit: Program, members: dict[str, Any], args: list[str], code: int, says: str
) -> None:
    assert says in coordkit.run("balance", "pick", *args).refused(code)


def test_nobody_is_there_to_ask(program: Program) -> None:
    program.env["COORDKIT_URL"] = f"redis://{HOST}:1"
    assert "is it running?" in program.run("balance", "pick", GROUP).refused(69)


def test_groups_are_completed(coordkit: Program, members: dict[str, Any]) -> None:
    assert complete(coordkit, "balance", "pick", "") == [GROUP]
    assert complete(coordkit, "balance", "pick", "x") == []
    assert complete(coordkit, "balance", "p") == ["pick"]
