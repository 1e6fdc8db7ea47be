"""What other processes have to do with a run: those that report to it, or in a forked one, whose run it is."""

import logging
import secrets

from ..exceptions import InvalidTransition, JobCancelled
from ..states import Status
from .endings import is_good
from .link import Link
from .listener import Listener
from .notes import Notes
from .remote import RemoteReporter

logger = logging.getLogger(__name__)


class Others:
    """The other processes of a run.

    Args:
        notes: Of the run.

    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._listener: Listener | None = None
        self._remote: RemoteReporter | None = None
        self._is_closed = False
        self.link: Link | None = None  # to the run, in a process that was forked in its block

    def remote(self) -> RemoteReporter:
        """Return what reports to the run from another process, which is listened to from now on."""
        with self._notes.lock:
            if self._remote is None:
                self._remote = RemoteReporter(*self._opened(), self._notes.job_id)
            return self._remote

    def _opened(self) -> tuple[str, str]:
        if self.link is not None:
            return self.link.address, self.link.token
        if not self._is_closed:
            try:
                self._listener = Listener(self._notes)
                return self._listener.address, self._listener.token
            except (OSError, RuntimeError) as error:  # no place for a socket, no more threads: the work goes on
                logger.warning("Other processes can't report of job %r: %s", self._notes.job_id, error)
        return "", secrets.token_hex(16)

    def stop(self, error: Exception) -> None:
        """Have all that report stop."""
        if self._listener is not None:
            self._listener.stop(error)

    def close(self, error: BaseException | None) -> None:
        """Take what was reported before the end of the run, and no more.

        Args:
            error: By which the run's block was left.

        """
        with self._notes.lock:
            self._is_closed = True
            listener, self._listener = self._listener, None
        if listener is None:
            return
        job_id = self._notes.job_id
        if isinstance(error, JobCancelled) and error.job_id == job_id:
            listener.close(error)
        else:
            status = Status.COMPLETED if is_good(error) else Status.FAILED
            listener.close(InvalidTransition(job_id, status, Status.IN_PROGRESS))

    def after_fork(self) -> None:
        """Have what is reported in this process go to the parent, whose run it is."""
        if self.link is not None:
            return  # of the parent's parent
        address, token = "", secrets.token_hex(16)
        listener, self._listener = self._listener, None
        if listener is not None:
            address, token = listener.address, listener.token
        self.link = Link(address, token, self._notes)
