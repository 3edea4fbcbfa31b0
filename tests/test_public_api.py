"""What users see: its names, its two flavours, its errors, and that all is documented."""

from __future__ import annotations

import ast
import asyncio
import copy
import importlib.metadata
import inspect
import pickle
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import coordkit
from coordkit import (
    AsyncSession,
    CoordError,
    Gate,
    Reason,
    Session,
    errors,
)
from coordkit.testing import Server
from support.servers import RedisServer
from support.surface import members

API = sorted((Path(__file__).parent / "typing").glob("api*.py"))
PUBLIC: dict[str, Any] = {
    name: getattr(coordkit, name) for name in coordkit.__all__ if name[0] != "_"
}
CLASSES = [thing for thing in PUBLIC.values() if inspect.isclass(thing)]
ERRORS = [each for each in CLASSES if issubclass(each, BaseException)]
#: What makes the others appear; of no use to users.
MACHINERY = {"TYPE_CHECKING", "annotations", "import_module"}
#: Only these are made by users; of the others `__init__` is ours.
MADE_BY_USERS = {Session, AsyncSession, Gate}


def functions() -> list[Any]:
    """Every public method and property, and every public function."""
    methods = [m for owner in [*CLASSES, Server] for m in members(owner) if m.function]
    return [pytest.param(m.function, m.value, id=m.path) for m in methods]


# -- names -------------------------------------------------------------------------


def test_all_is_what_is_public() -> None:
    assert len(set(coordkit.__all__)) == len(coordkit.__all__)
    assert coordkit.__all__ == sorted(coordkit.__all__)
    public = {
        name
        for name in dir(coordkit)
        if re.match("[a-zA-Z]", name) and not inspect.ismodule(getattr(coordkit, name))
    }
    assert public == set(coordkit.__all__) - {"__version__"} | MACHINERY


def test_names_are_imported_from_where_type_checkers_see_them() -> None:
    tree = ast.parse(inspect.getsource(coordkit))
    seen = {
        f".{node.module}": tuple(alias.name for alias in node.names)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert seen == vars(coordkit)["_FROM"]
    assert {name for names in seen.values() for name in names} == set(PUBLIC)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    for name in ("Loc", "_lock", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(coordkit, name)


def test_every_error_is_public() -> None:
    ours = {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, CoordError)
    }
    assert ours == set(ERRORS)


def test_the_version_is_that_of_the_installation() -> None:
    assert coordkit.__version__ == importlib.metadata.version("coordkit")


def named_in(annotation: Any) -> Iterator[type]:
    """Every class that an annotation names."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    if isinstance(annotation, list):  # of a Callable
        for each in annotation:
            yield from named_in(each)
    for part in typing.get_args(annotation):
        yield from named_in(part)


@pytest.mark.parametrize(("function", "value"), functions())
def test_signatures_name_only_what_is_public(function: Any, value: Any) -> None:
    hints = typing.get_type_hints(function, localns=PUBLIC)
    ours = {
        named
        for hint in hints.values()
        for named in named_in(hint)
        if named.__module__.startswith("coordkit")
    }
    assert ours <= {*CLASSES, Server}


def test_every_public_name_is_typed_by_the_users_files() -> None:
    nodes = [
        node for api in API for node in ast.walk(ast.parse(api.read_text("utf-8")))
    ]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    shown = [*CLASSES, Server]
    public = {m.name for owner in shown for m in members(owner)} | set(PUBLIC)
    assert public <= used


# -- documentation -----------------------------------------------------------------


def documented() -> list[Any]:
    """Every public module, and every class and function that is defined in one."""
    names = [info.name for info in pkgutil.iter_modules(coordkit.__path__)]
    modules = [import_module(f"coordkit.{n}") for n in names if not n.startswith("_")]
    things: dict[str, Any] = {"coordkit": coordkit}
    things |= {owner.__name__: owner for owner in CLASSES}
    for module in modules:
        things[module.__name__] = module
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", None) == module.__name__
            if ours and re.match("[a-zA-Z]", name) and callable(value):
                things[f"{module.__name__}.{name}"] = value
    return [pytest.param(thing, id=name) for name, thing in things.items()]


@pytest.mark.parametrize("thing", documented())
def test_it_is_documented(thing: Any) -> None:
    own = inspect.getdoc(thing)
    assert own
    assert own != inspect.getdoc(type(thing).__base__), "inherited from Python"
    if inspect.isclass(thing):
        assert thing.__doc__
        assert not re.match(rf"{thing.__name__}\(", thing.__doc__), "made by dataclass"


@pytest.mark.parametrize(("function", "value"), functions())
def test_functions_say_what_they_do_in_the_imperative(
    function: Any, value: Any
) -> None:
    doc = inspect.getdoc(function)
    assert doc
    first, blank = [*doc.splitlines(), ""][:2]
    assert first[0].isupper()
    assert blank == "" or first[-1] != ".", "one sentence, then a blank line"
    word = first.split()[0].strip("`,.")
    is_noun = isinstance(value, property)
    assert is_noun or not re.fullmatch(r"\w+[^s]s|This|The|A|An|It", word), word


@pytest.mark.parametrize("owner", [*CLASSES, Server], ids=lambda owner: owner.__name__)
def test_at_most_two_parameters_are_given_by_position(owner: type) -> None:
    shown = [m.function for m in members(owner) if m.function]
    if owner in MADE_BY_USERS:
        shown.append(vars(owner)["__init__"])
    for function in shown:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        by_position = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(by_position) <= 2, function
        others = {p.kind for p in parameters[len(by_position) :]}
        assert others <= {
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
        }
        # What is True or False is nothing without its name.
        assert not any(isinstance(p.default, bool) for p in by_position), function


# -- errors ------------------------------------------------------------------------


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """The tree of the docstring: each error, its parent, and the builtin beside it."""
    found: dict[str, tuple[str | None, str | None]] = {}
    branch: list[str] = []
    assert errors.__doc__
    for text in errors.__doc__.splitlines():
        node = re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?:\s+\((\w+)\)|\s\s|$)", text)
        if node:
            depth = len(node[1]) // 3
            branch = [*branch[:depth], node[2]]
            found[node[2]] = (branch[depth - 1] if depth else None, node[3])
    return found


def test_the_tree_of_errors_is_as_drawn() -> None:
    def real(error: type) -> tuple[str | None, str | None]:
        ours, *builtin = error.__bases__
        parent = ours.__name__ if issubclass(ours, CoordError) else None
        return parent, builtin[0].__name__ if builtin else None

    assert drawn() == {error.__name__: real(error) for error in ERRORS}


EXAMPLES: list[CoordError] = [
    errors.CoordError("why"),
    errors.Unreachable("no answer", sent=False),
    errors.LockTimeout("jobs", 1.5),
    errors.LeaseLost("jobs", 7, Reason.STOLEN),
    errors.LeadershipLost("jobs", 7, Reason.EXPIRED),
    errors.NotHeld("jobs", "it was released before"),
    errors.StaleToken("jobs", 7, 9),
    errors.Overtaken("jobs", 7, 9),
    errors.OutOfBounds("jobs", 5, 8, at_least=0, at_most=10),
    errors.NotAllAdded({"jobs": 5}, {"hits": errors.StaleToken("hits", 7, 9)}),
    errors.FenceRegression("jobs", 7, 9),
    errors.IdRegression("jobs", 7, 9),
    errors.NoLeader("nobody"),
    errors.NoCandidate("jobs", "w1", "nobody waits"),
    errors.NoMember("workers", "it has no members"),
    errors.StaleGroup("workers", "too old"),
    errors.EmptyRing("nobody"),
    errors.NoNode("shards", "a"),
    errors.RingChanged("shards", 7, 9),
    errors.StaleRing("shards", "too old"),
    errors.DamagedRing("shards", "its meta is gone"),
    errors.Overloaded("shards", 8, 8),
    errors.KeyConflict("another kind"),
    errors.Unsupported("which"),
    errors.Refused("no"),
    errors.NotPermitted("no"),
]


def test_every_error_has_an_example() -> None:
    assert {type(error) for error in EXAMPLES} == set(ERRORS)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_an_error_crosses_processes(error: CoordError, protocol: int) -> None:
    """As from a worker of `multiprocessing`: one that cannot be read breaks the pool."""
    again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # our own
    assert type(again) is type(error)
    # Spelled out, for an error may hold others, and no two errors are equal.
    assert (str(again), repr(vars(again))) == (str(error), repr(vars(error)))
    assert vars(copy.copy(error)) == vars(error)


# -- objects -----------------------------------------------------------------------

SECRET = "hunter-2"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RedisServer(acl=[f"user default on >{SECRET} ~* &* +@all"]) as server:
        yield f"redis://:{SECRET}@127.0.0.1:{server.port}/0"


def shown(session: Any, lease: Any, leases: Any, lost: Any) -> dict[str, Any]:
    """Objects of one flavour, and what their `repr` must say."""
    where = re.escape(session.address)
    held = rf"<\w*Lease 'jobs' token={lease.token} held, 2\d\.\d{{3}} s left>"
    return {
        rf"<\w*Session {where} namespace='shop'>": session,
        r"<\w*Lock 'jobs' ttl=30>": session.lock("jobs"),
        r"<\w*Lock 'x' ttl=1.5 slots=3 unfair>": session.lock(
            "x", ttl=1.5, slots=3, fair=False
        ),
        r"<\w*LockAll \['a', 'b'\]>": session.lock_all(["b", "a"]),
        r"<\w*Fence 'jobs'>": session.fence("jobs"),
        r"<\w*Group 'x' ttl=10>": session.group("x"),
        r"<\w*Balancer 'x' two_choices>": session.balancer("x"),
        r"<\w*Election 'x' ttl=15 renew_deadline=10>": session.election("x"),
        r"<\w*Election 'x' ttl=3 renew_deadline=1.5 max_term=60>": session.election(
            "x", ttl=3, renew_deadline=1.5, max_term=60
        ),
        r"<\w*Counter 'jobs'>": session.counter("jobs"),
        r"<\w*Counter 'jobs' shards=4>": session.counter("jobs", shards=4),
        r"<\w*Ids 'jobs' block=10>": session.ids("jobs", block=10),
        held: lease,
        r"<\w*Leases \[<\w*Lease 'a' .* held, .*>\]>": leases,
        r"<\w*Ring 'shards'>": session.ring("shards"),
        r"<\w*Lost not yet>": lease.lost,
        r"<\w*Lost stolen>": lost,
    }


def assert_shown(objects: dict[str, Any]) -> None:
    for pattern, value in objects.items():
        text = repr(value)
        assert re.fullmatch(pattern, text)
        assert text.startswith(f"<{type(value).__name__} ")
        assert SECRET not in text


def test_what_repr_shows(url: str) -> None:
    with (
        Session(url, namespace="shop") as s,
        s.lock("jobs").acquire() as lease,
        s.lock_all(["a"]) as leases,
    ):
        lost = s.lock("lost").acquire()
        lost._end(Reason.STOLEN)
        assert_shown(shown(s, lease, leases, lost.lost))


def test_what_repr_shows_of_the_twins(url: str) -> None:
    async def show() -> None:
        async with (
            AsyncSession(url, namespace="shop") as s,
            s.lock("jobs").acquire() as lease,
            s.lock_all(["a"]) as leases,
        ):
            lost = await s.lock("lost").acquire()
            lost._end(Reason.STOLEN)
            assert_shown(shown(s, lease, leases, lost.lost))

    asyncio.run(show())


def test_an_acquisition_shows_what_of() -> None:
    lock = AsyncSession().lock("jobs")
    assert repr(lock.acquire()) == "<Acquiring 'jobs'>"
    assert repr(lock.acquire(1.5)) == "<Acquiring 'jobs' timeout=1.5>"
    joining = AsyncSession().group("jobs").join("w1")
    assert repr(joining) == "<Acquiring 'jobs' 'w1'>"
    campaign = AsyncSession().election("jobs").campaign(1.5)
    assert repr(campaign) == "<Acquiring 'jobs' timeout=1.5>"


def test_no_error_tells_a_secret(url: str) -> None:
    wrong = url.replace(SECRET, SECRET[::-1])
    nobody = re.sub(r":\d+/", ":1/", url)
    for bad, error in ((wrong, errors.NotPermitted), (nobody, errors.Unreachable)):
        with closing(Session(bad)) as s, pytest.raises(error) as refused:
            s.ping()
        text = f"{refused.value!r} {refused.value.__cause__!r} {s!r}"
        assert SECRET not in text
        assert SECRET[::-1] not in text


BOUND: dict[str, Callable[[], Any]] = {
    "Session": Session,
    "AsyncSession": AsyncSession,
    "Lock": lambda: Session().lock("jobs"),
    "AsyncLock": lambda: AsyncSession().lock("jobs"),
    "LockAll": lambda: Session().lock_all(["jobs"]),
    "AsyncLockAll": lambda: AsyncSession().lock_all(["jobs"]),
    "Election": lambda: Session().election("jobs"),
    "AsyncElection": lambda: AsyncSession().election("jobs"),
    "Group": lambda: Session().group("jobs"),
    "AsyncGroup": lambda: AsyncSession().group("jobs"),
    "Balancer": lambda: Session().balancer("jobs"),
    "AsyncBalancer": lambda: AsyncSession().balancer("jobs"),
    "Fence": lambda: Session().fence("jobs"),
    "AsyncFence": lambda: AsyncSession().fence("jobs"),
    "Counter": lambda: Session().counter("jobs"),
    "AsyncCounter": lambda: AsyncSession().counter("jobs"),
    "Ids": lambda: Session().ids("jobs"),
    "AsyncIds": lambda: AsyncSession().ids("jobs"),
    "Gate": Gate,
    "Passage": lambda: Gate().admit(7),
    "Ring": lambda: Session().ring("shards"),
    "AsyncRing": lambda: AsyncSession().ring("shards"),
    "Acquiring": lambda: AsyncSession().lock("jobs").acquire(),
}


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_what_belongs_to_a_process_refuses_pickling_and_says_so(
    make: Callable[[], Any],
) -> None:
    thing = make()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as refused:
            attempt(thing)
        assert f"{type(thing).__name__} belongs to one process" in str(refused.value)


def test_an_asyncio_acquisition_is_awaited_or_entered() -> None:
    acquiring = AsyncSession().lock("jobs").acquire(5)
    assert inspect.isawaitable(acquiring)
    assert hasattr(acquiring, "__aenter__")
    assert not inspect.iscoroutine(acquiring), "nothing to warn of when it is dropped"
