"""Which blocks of code this one is in, whoever has called it."""

import weakref
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar


class HasEnd(Protocol):
    """What is left at some time, maybe elsewhere: a generator's block can end in another thread or task."""

    is_open: bool


B = TypeVar("B", bound=HasEnd)


class Blocks(Generic[B]):
    """The blocks that are open here. A thread begins in none; an asyncio task in those that it was made in.

    Blocks of generators can be left in any order. The blocks are not kept alive.

    Args:
        name: Of the context variable.

    """

    def __init__(self, name: str) -> None:
        self._entered: ContextVar[tuple[weakref.ref[B], ...]] = ContextVar(name, default=())

    def enter(self, block: B) -> None:
        """Be in a block from now on, and in those that are open."""
        self._entered.set((*map(weakref.ref, self._open()), weakref.ref(block)))

    def leave(self, block: B) -> None:
        """Be in a block no more."""
        self._entered.set(tuple(weakref.ref(each) for each in self._open() if each is not block))

    @property
    def innermost(self) -> B | None:
        """The block that was entered last."""
        opened = self._open()
        return opened[-1] if opened else None

    def _open(self) -> list[B]:
        blocks = [entered() for entered in self._entered.get()]
        return [block for block in blocks if block is not None and block.is_open]


reporters: Blocks[Any] = Blocks("jobs_reporters")  # of `reporter`, which needs the models, as this module does not
