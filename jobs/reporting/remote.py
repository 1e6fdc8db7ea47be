"""A reporter in another process than that of the block: what a `Reporter` becomes when it is sent there."""

import os
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from .. import validation
from .entered import reporters
from .link import Link
from .notes import Notes
from .output import Output

T = TypeVar("T")


class RemoteReporter:
    """Reports to the block of a `Reporter` in another process of this machine, which writes it.

    It can be pickled and costs next to nothing until something is reported. What one has counted is added to what all
    others have, in the stage that is under way there. Its ``with`` block makes it the `current_reporter`, and neither
    begins nor ends anything.

    Nothing that it is told fails the work, nor does the end of the other process: from then on reports are dropped,
    and a warning is logged once.

    Args:
        address: Of the socket where it is listened to.
        token: Of the run.
        job_id: Whose progress it is.

    Raises:
        JobCancelled: From any report, within a second after somebody asked for the job to be cancelled.
        JobError: From any report: the block was left (`InvalidTransition`), the job was deleted, or is another's.

    """

    __slots__ = ("__weakref__", "_address", "_blocks", "_known", "_token", "job_id")

    def __init__(self, address: str, token: str, job_id: str) -> None:
        self._address, self._token, self.job_id = address, token, job_id
        self._known: Link | None = None
        self._blocks = 0

    def __reduce__(self) -> Any:
        return RemoteReporter, (self._address, self._token, self.job_id)

    @property
    def is_open(self) -> bool:
        """Whether a ``with`` block of it is being run."""
        return self._blocks > 0

    def __enter__(self) -> Self:
        self._blocks += 1
        reporters.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks -= 1
        reporters.leave(self)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def _link(self) -> Link:
        if self._known is None:
            self._known = _link_to(self._address, self._token, self.job_id)
        return self._known

    def remote(self) -> "RemoteReporter":
        """Return itself: it may be sent on."""
        return self

    def track(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and count each as done once the next is asked for."""
        link = self._link
        yield from link.notes.loop(items, link.pause)

    def advance(self, by: float = 1, *, message: str | None = None) -> None:
        """Count ``by`` more units as done."""
        link = self._link
        link.notes.advance(by)
        if message is not None:
            link.notes.say(message=message)
        link.pause()

    def report(
        self,
        *,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        stage: str | None = None,
    ) -> None:
        """Report how far the work is.

        Args:
            current: How much of it this process has done.
            total: How much all of it is.
            message: What is being done, in words.
            stage: Left out with a warning: stages are begun in the process whose block it is.

        """
        link = self._link
        link.notes.say(current=current, total=total, message=message, stage=stage)
        link.pause()

    def log(self, text: str, *, level: str = "info") -> None:
        """Add a line to the job's log, at a level that ``logging`` names; one of over 2,000 characters is cut."""
        link = self._link
        link.notes.log(text, level)
        link.pause()

    def output(self, name: str = "output") -> Output:
        """Return a stream of output, as a text file.

        Raises:
            InvalidValue: The name is none: 1 to 64 letters, digits, ``.``, ``_``, ``-``.

        """
        link = self._link
        return Output(link.notes, validation.stream_name(name), link.pause)

    def note_line(self, text: str, level: str) -> None:
        """Do what `log` does, without raising anything."""
        self._link.notes.log(text, level)
        self._link.hand_on()

    @property
    def cancel_requested(self) -> bool:
        """Whether the next report will raise `JobCancelled`."""
        return self._link.cancel_requested


_shared: dict[str, Link] = {}  # by the token: whatever reports of a run in this process
_making = threading.Lock()


def _link_to(address: str, token: str, job_id: str) -> Link:
    with _making:
        if token not in _shared:
            for other in [other for other, link in _shared.items() if link.is_over]:
                del _shared[other]
            _shared[token] = Link(address, token, Notes(job_id))
        return _shared[token]


def _after_fork() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
