"""Many items, a few at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

MAX_IDS = 500  # in one query; SQLite takes 999 parameters by default
MANY_IDS = 10_000  # in one query of a database that takes any number


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``, of which the last may be shorter: `itertools.batched` of Python 3.12."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
