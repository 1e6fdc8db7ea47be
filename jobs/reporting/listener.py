"""How a run hears of what other processes report of it: a socket, and a thread that adds it to the notes."""

import contextlib
import logging
import os
import secrets
import selectors
import socket
import threading
import time
import weakref

from .notes import Notes
from .peer import Peer
from .rendezvous import listening_socket, remove

logger = logging.getLogger(__name__)

BACKLOG = 1_024  # processes that wait to be heard
MOST_PEERS = 1_000  # processes of a run at a time
CLOSE_SECONDS = 2.0  # for which the end of the run waits for what others have said before
BEHIND_SECONDS = 0.01  # between two looks whether they have


class Listener:
    """Listens to other processes from the first on that is to report until the run's block is left.

    Args:
        notes: Of the run.

    Raises:
        OSError: There can be no socket.
        RuntimeError: There can be no thread.

    """

    def __init__(self, notes: Notes) -> None:
        self.token = secrets.token_hex(16)
        self._notes = notes
        self._peers: set[Peer] = set()
        self._told: Exception | None = None  # why all that report are to stop
        self._is_closing = False
        self._lock = threading.RLock()  # of the waker; reentrant: the run may be collected as garbage within
        self._thread = threading.Thread(target=self._run, name="job-listener", daemon=True)
        with contextlib.ExitStack() as opened:
            self._socket, self.address = listening_socket(BACKLOG)
            opened.callback(remove, self.address)
            opened.enter_context(self._socket)
            self._woken, self._waker = map(opened.enter_context, socket.socketpair())
            self._selector = opened.enter_context(selectors.DefaultSelector())
            for each in (self._woken, self._waker):
                each.setblocking(False)
            for each in (self._woken, self._socket):
                self._selector.register(each, selectors.EVENT_READ)
            self._opened = opened.pop_all()  # which the thread closes
        try:
            self._thread.start()
        except RuntimeError:
            self._opened.close()
            raise
        _open.add(self)

    def stop(self, reason: Exception) -> None:
        """Have all that report stop, now and from now on."""
        self._told = self._told or reason
        self._wake()

    def close(self, reason: Exception) -> None:
        """Take what was reported before, for so long as that takes within bounds, and have all others stop.

        Args:
            reason: What is raised there by a later report.

        """
        self._is_closing = True
        self.stop(reason)
        if threading.current_thread() is not self._thread:  # which may collect the run as garbage
            self._thread.join(2 * CLOSE_SECONDS)

    def after_fork(self) -> None:
        """Leave all to the parent, whose end the others would not notice while this process had its sockets open."""
        for peer in self._peers:
            peer.after_fork()
        for each in (self._selector, self._socket, self._woken, self._waker):
            each.close()

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # it is awake already, or has ended
            self._waker.send(b"\0")

    # In the thread

    def _run(self) -> None:
        has_told = None
        try:
            while not self._is_closing:
                for key, _ in self._selector.select():
                    self._answer(key.fileobj)
                if self._told is not has_told:
                    has_told = self._told
                    self._tell()
            self._finish()
        except Exception:
            logger.exception("What other processes report of job %r is not heard any more.", self._notes.job_id)
        finally:
            self._release()

    def _answer(self, ready: object) -> None:
        if isinstance(ready, Peer):
            self._receive(ready)
        elif ready is self._socket:
            self._accept()
        else:
            self._woken.recv(1024)

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                if len(self._peers) >= MOST_PEERS:
                    logger.warning("A process that reports of job %r is not heard: too many do.", self._notes.job_id)
                    connection.close()
                    continue
                peer = Peer(connection, self.token, self._notes)
                self._peers.add(peer)
                self._selector.register(peer, selectors.EVENT_READ)
                if self._told is not None:
                    peer.tell(self._told)
        except BlockingIOError:
            return
        except OSError as error:  # at a limit of the system: who waits is heard once another has ended
            logger.warning("No more processes that report of job %r can be heard now: %s", self._notes.job_id, error)
            if self._socket in self._selector.get_map():
                self._selector.unregister(self._socket)

    def _receive(self, peer: Peer) -> bool:
        """Take what a process says; return whether that is all for now."""
        try:
            return peer.receive()
        except (EOFError, ConnectionError):
            pass  # as every process ends at some time
        except Exception as error:
            logger.warning("A process that reports of job %r is not heard any more: %s", self._notes.job_id, error)
        self._leave(peer)
        return True

    def _leave(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._selector.unregister(peer)
        peer.close()
        if self._socket not in self._selector.get_map():
            self._selector.register(self._socket, selectors.EVENT_READ)

    def _tell(self) -> None:
        if self._told is not None:
            for peer in self._peers:
                peer.tell(self._told)

    def _finish(self) -> None:
        """Take what was said before: also by processes that have not been heard yet, or have ended meanwhile."""
        give_up_at = time.monotonic() + CLOSE_SECONDS
        self._accept()
        waiting = set(self._peers)
        while waiting and time.monotonic() < give_up_at:
            for peer in list(waiting):
                is_behind = peer.is_behind
                if (self._receive(peer) and not is_behind) or peer not in self._peers:
                    waiting.discard(peer)
            if waiting:
                time.sleep(BEHIND_SECONDS)  # a number in memory wakes nobody
        self._tell()

    def _release(self) -> None:
        for peer in list(self._peers):
            self._leave(peer)
        with self._lock:
            self._opened.close()


_open: "weakref.WeakSet[Listener]" = weakref.WeakSet()


def _after_fork() -> None:
    for listener in list(_open):
        listener.after_fork()


os.register_at_fork(after_in_child=_after_fork)
