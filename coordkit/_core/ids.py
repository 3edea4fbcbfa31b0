"""Blocks of ids, as an operation: each is handed out once."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import IdRegression, KeyConflict, OutOfBounds
from .asking import insist
from .keys import check_name, ids_key
from .ops import Call, Op
from .reply import number, text
from .whole import whole

#: The last integer that JSON and Lua tell from the one after it.
LARGEST_ID = 2**53 - 1
#: A crash wastes a block: more than this is a slip of the keyboard.
LARGEST_BLOCK = 2**32


@dataclass(frozen=True, slots=True)
class Blocks:
    """The ids of one name: so many are taken at once, none of them below *start*."""

    name: str
    key: str
    block: int
    start: int
    timeout: float

    def take(self, last: int) -> Op[range]:
        """
        Return the next block; *last* is the highest id that was taken before.

        A retry takes another block: the one of a lost answer is never handed out.
        """
        args = (self.block, self.start)
        reply = yield from insist(Call("ids_take", (self.key,), args, self.timeout))
        word = text(reply.value[0])
        if word == "conflict":
            raise KeyConflict(f"the key of the ids {self.name!r} holds something else")
        ends = number(reply.value[1])
        if word == "bounds":
            raise OutOfBounds(
                self.name, self.block, ends, at_least=1, at_most=LARGEST_ID
            )
        taken = range(ends - self.block + 1, ends + 1)
        if taken[0] <= last:
            raise IdRegression(self.name, taken[0], last)
        return taken


def id_blocks(
    namespace: str, name: str, *, block: int, start: int, timeout: float
) -> Blocks:
    """Check the options of ids, and return them."""
    whole(block, "block", least=1, most=LARGEST_BLOCK)
    whole(start, "start", least=1, most=LARGEST_ID)
    return Blocks(check_name(name), ids_key(namespace, name), block, start, timeout)
