"""Faults to plant into the read path: a simulation that does not find them is worth nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any, NamedTuple

from tests.simulation.world import MODES


class Fault(NamedTuple):
    """A fault: what of the software it replaces, as ``module:Class.method``, and by what, made of what was there."""

    what: str
    target: str = ""  # to be filled in
    make: Callable[[Any], Any] = lambda there: there
    modes: tuple[str, ...] = MODES

    @property
    def is_ready(self) -> bool:
        return bool(self.target)


def _frees_nothing(pop: Any) -> Any:
    def pop_only(self: Any) -> Any:
        size = self._size
        frame = pop(self)
        self._size = size
        return frame

    return pop_only


FAULTS: dict[str, Fault] = {
    "left out": Fault("what is written while a job is read for its first watcher is left out"),
    "superseded": Fault("the rest of a replay goes to the outbox, where later ticks supersede it"),
    "twice": Fault("who subscribes again gets events twice"),
    "behind the close": Fault("what waits is still sent after a message was refused"),
    "wake-up": Fault("a wake-up is lost"),
    "early snapshot": Fault("a snapshot comes before the answer"),
    "never left": Fault(
        "a group of the layer is never left",
        "progress.link:Link.leave",
        lambda _: lambda self, group: self._wanted.discard(group),
        ("redis-sqlite", "redis-postgres"),
    ),
    "frees nothing": Fault("the outbox frees nothing", "progress.outbox:Outbox.pop", _frees_nothing),
    "access": Fault("who may no longer see a job still does"),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Put a fault into the software; without a name, none."""
    fault = FAULTS.get(name)
    if fault is None or not fault.is_ready:
        yield
        return
    place, _, attribute = fault.target.rpartition(".")
    owner = resolve_name(place)
    there = getattr(owner, attribute)
    setattr(owner, attribute, fault.make(there))
    try:
        yield
    finally:
        setattr(owner, attribute, there)
