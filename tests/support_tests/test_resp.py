"""A stream of the Redis protocol is cut where its elements end."""

from __future__ import annotations

import pytest

from support.resp import NotResp, Splitter, element_end, head


@pytest.mark.parametrize(
    "element",
    [
        *(
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":-5\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
        ),
        *(b"*0\r\n", b"$4\r\n\r\n\r\n\r\n", b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n", b"_\r\n"),
        *(b"%1\r\n+a\r\n*1\r\n:1\r\n", b"~1\r\n#t\r\n", b",1.5\r\n", b"(12\r\n"),
        *(b"=5\r\ntxt:a\r\n", b"!3\r\nERR\r\n", b">2\r\n+a\r\n+b\r\n"),
        b"|1\r\n+ttl\r\n:9\r\n*1\r\n+OK\r\n",
    ],
)
def test_an_element_ends_where_it_ends(element: bytes) -> None:
    for length in range(len(element)):
        assert element_end(element[:length]) is None
    assert element_end(element + b"+next\r\n") == len(element)
    splitter = Splitter()
    found = [one for byte in element * 3 for one in splitter.feed(bytes([byte]))]
    assert found == [element] * 3


def test_what_is_no_element_is_told() -> None:
    for wrong in (b"GET", b"$x\r\n", b"*1\r\n?\r\n"):
        with pytest.raises(NotResp):
            element_end(wrong)
    splitter = Splitter()
    assert splitter.feed(b"+OK\r\nwrong") == [b"+OK\r\n"]
    assert splitter.opaque
    assert splitter.take_rest() == b"wrong"


def test_the_head_of_a_command_is_its_name() -> None:
    assert head(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n") == (b"GET", 2)
    assert head(b"*0\r\n") == (b"", 0)
    assert head(b"+OK\r\n") == (b"", 0)
    assert head(b"*1\r\n:1\r\n") == (b"", 1)
