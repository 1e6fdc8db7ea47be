"""How a process hands on what it reports of a run that is another's, on the same machine."""

import copy
import logging
import os
import select
import socket
import struct
import threading
import time
import weakref
from typing import Any

from ..exceptions import JobCancelled, JobError
from .notes import Notes
from .page import Page, shared_memory
from .stages import Part, Stages
from .wire import MAX_LINE, Lines, error_of, said

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between two looks whether to stop
WAIT_SECONDS = 1.0  # for which the work waits where the other process takes nothing; then a thread does
RETRY_SECONDS = 10.0  # until it is tried again to connect to a process that does not answer
EXIT_SECONDS = 5.0  # for which the end of this process waits for what is to be sent

UNHEARD = (
    "nobody listens to it. In the block of a Reporter, pass that to the other process as an argument, or call its "
    "`remote` method before a fork"
)
NOBODY_LEFT = "the block was left, its process has ended, or it is on another machine"


class CountedElsewhere(Stages):
    """The only stage that a process counts in whose run is another's, which has the stages."""

    def begin(self, label: str, **_: Any) -> Part:
        """Begin none."""
        return Part(label)


class Link:
    """Hands on what is noted here: counts through memory, so that they are never lost, the rest through a socket.

    Nothing waits in a queue here while the socket takes it. So what was reported before a task's result is returned is
    where the other process finds it, whatever becomes of this one. Threads may share a link; a fork gets its own.

    Args:
        address: The path of the socket.
        token: Of the run.
        notes: What is counted and said here.

    """

    def __init__(self, address: str, token: str, notes: Notes) -> None:
        self.address, self.token, self.notes = address, token, notes
        self.stopped_by: JobError | None = None
        self._socket: socket.socket | None = None
        self._begin()
        _links.add(self)

    def _begin(self) -> None:
        # The notes' own lock: what is handed on may make garbage of what reports, within either.
        self._lock = self.notes.lock = threading.RLock()
        self.notes.take()
        self.notes.stages = CountedElsewhere()
        self.notes.must_pause, self.notes.wake = True, _nobody
        self._page: Page | None = None
        self._lines = Lines()
        self._rest = memoryview(b"")  # what was taken from the notes and is to be sent
        self._is_sending = self._has_thread = self._is_lost = self._has_warned = False
        self._look_at = self._connect_at = float("-inf")

    def after_fork(self) -> None:
        """Leave what is noted to the parent, and be another link."""
        self._hang_up()
        self._begin()

    def __del__(self) -> None:
        """Hang up, since nobody reports here any more."""
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def pause(self) -> None:
        """Hand on what is noted.

        Raises:
            JobCancelled: Somebody asked for the job to be cancelled.
            JobError: The run is over, or the job is another's by now.

        """
        self.hand_on()
        if self.stopped_by is not None:
            raise copy.copy(self.stopped_by)

    def hand_on(self) -> None:
        """Do so and raise nothing."""
        with self._lock:
            now = time.monotonic()
            if self._page is None and not self._is_lost and now >= self._connect_at:
                self._connect(now)
            if self._page is not None:
                self._page.counted = self.notes.stages.present.current
                if self.notes.has_news and not self._is_sending:
                    self._send()
                if now >= self._look_at:
                    self.look()
            elif self._is_lost and self.notes.has_news:
                self.notes.take()

    def look(self) -> None:
        """Look whether to stop."""
        with self._lock:
            self._look_at = time.monotonic() + LOOK_SECONDS
            try:
                while self._socket is not None:
                    data = self._socket.recv(MAX_LINE)
                    if not data:
                        self._lose("the process whose job it is has ended")
                        return
                    for line in self._lines.of(data):
                        self.stopped_by = error_of(line)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked for the job to be cancelled."""
        self.hand_on()
        self.look()
        return isinstance(self.stopped_by, JobCancelled)

    @property
    def is_over(self) -> bool:
        """Whether nobody hears what is reported."""
        self.look()
        return self._is_lost

    # Within the lock

    def _connect(self, now: float) -> None:
        self._connect_at = now + RETRY_SECONDS
        connection = memory = None
        try:
            if not self.address:
                raise FileNotFoundError(UNHEARD)
            memory = shared_memory()
            connection = socket.socket(socket.AF_UNIX)
            wait = struct.pack("ll", int(WAIT_SECONDS), int(WAIT_SECONDS % 1 * 1_000_000))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)  # it holds for connecting as well
            connection.connect(self.address)
            socket.send_fds(connection, [self.token.encode() + b"\n"], [memory])
            connection.setblocking(False)
            self._page, self._socket = Page(memory), connection
        except BlockingIOError as error:  # so many wait to be heard: it is tried again
            logger.debug("What this process reports of job %r is late: %s", self.notes.job_id, error)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._lose(NOBODY_LEFT if error.errno else error)
        except OSError as error:
            self._lose(error)
        finally:
            if memory is not None:
                os.close(memory)
            if connection is not None and self._socket is None:
                connection.close()

    def _send(self) -> None:
        """Send what is noted. Where that takes too long, a thread goes on with it."""
        assert self._page is not None
        self._page.is_behind = True
        self._is_sending = True
        try:
            give_up_at = time.monotonic() + WAIT_SECONDS
            while not self._has_thread and not self._sent():
                if not self._can_be_sent(give_up_at - time.monotonic()):
                    threading.Thread(target=self._send_rest, name="job-reports-rest").start()
                    self._has_thread = True
        except RuntimeError as error:  # there can be no thread: the next report goes on with it
            logger.debug("What this process reports of job %r is late: %s", self.notes.job_id, error)
        finally:
            self._is_sending = False

    def _sent(self) -> bool:
        """Send what the socket takes; return whether that is all."""
        try:
            while self._socket is not None and self._page is not None:
                if not self._rest:
                    self._rest = memoryview(b"".join(said(self._noted())))
                if not self._rest:
                    self._page.is_behind = False
                    return True
                self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return False
        except OSError as error:
            self.look()  # it may have been told why
            self._lose(error)
        return True

    def _noted(self) -> list[Any]:
        entries = self.notes.take()
        self.notes.total = None  # that of the other process counts, until another is said here
        if not self._has_warned and any(arguments.get("stage") is not None for _, arguments in entries):
            self._has_warned = True
            logger.warning("Stages of job %r are begun in the process whose block it is.", self.notes.job_id)
        return entries

    def _can_be_sent(self, seconds: float) -> bool:
        """Wait until the socket takes something, or is closed; return False if it does not."""
        descriptor = -1 if self._socket is None else self._socket.fileno()
        if descriptor < 0:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _lose(self, why: object) -> None:
        """Drop what is reported from now on: the work goes on."""
        self._hang_up()
        if self._page is not None:
            self._page.close()
            self._page = None
        self._rest = memoryview(b"")
        if not self._is_lost and self.stopped_by is None:
            logger.warning("What this process reports of job %r is dropped: %s.", self.notes.job_id, why)
        self._is_lost = True

    def _send_rest(self) -> None:
        """Send what the other process did not take in time; the thread in which this runs holds up the exit."""
        give_up_at = float("inf")
        while True:
            with self._lock:
                if self._sent() or time.monotonic() >= give_up_at:
                    self._has_thread = False
                    return
            if not threading.main_thread().is_alive():
                give_up_at = min(give_up_at, time.monotonic() + EXIT_SECONDS)
            self._can_be_sent(LOOK_SECONDS)


def _nobody(_: float) -> None:
    """Have nobody write it: it is handed on by whoever reports."""


_links: "weakref.WeakSet[Link]" = weakref.WeakSet()


def _after_fork() -> None:
    for link in list(_links):
        link.after_fork()


os.register_at_fork(after_in_child=_after_fork)
