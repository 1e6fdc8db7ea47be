"""Another process that reports to a run of this one, as this one has it."""

import contextlib
import hmac
import os
import socket

from .. import validation
from .notes import Notes
from .page import Page
from .stages import Tally
from .wire import Lines, parsed, reason_of

READ = 64 * 1024  # bytes at a time
READS = 16  # at a time: others have something to say as well


class Peer:
    """Adds to the notes what another process says, as soon as it has shown the token.

    Args:
        connection: To that process.
        token: Of the run.
        notes: Of the run.

    """

    def __init__(self, connection: socket.socket, token: str, notes: Notes) -> None:
        self._socket, self._token, self._notes = connection, token.encode(), notes
        self._lines = Lines()
        self._memory: int | None = None  # that came with the token
        self._page: Page | None = None
        self._tally: Tally | None = None
        self._counted: float = 0  # as it was read last
        self._reason: Exception | None = None  # to stop
        connection.setblocking(False)

    def fileno(self) -> int:
        """Return the file descriptor of its socket."""
        return self._socket.fileno()

    @property
    def is_behind(self) -> bool:
        """Whether it has said something that can't be read yet."""
        return self._page is None or self._page.is_behind

    def receive(self) -> bool:
        """Take what has come; return whether that is all for now.

        Raises:
            EOFError: The process has ended, or has nothing more to say.
            OSError: The same.
            Exception: It says what can't be understood.

        """
        for _ in range(READS):
            try:
                data = self._read()
            except BlockingIOError:
                return True
            if not data:
                raise EOFError
            for line in self._lines.of(data):
                self._take(line)
        return False

    def tell(self, reason: Exception) -> None:
        """Tell it why to stop, once it has shown the token. One that takes nothing learns that the socket is closed."""
        self._reason = reason
        if self._page is None:
            return
        with contextlib.suppress(OSError):
            self._socket.send(reason_of(reason))

    def close(self) -> None:
        """Leave it. What it has counted stays counted."""
        if self._tally is not None:
            with self._notes.lock:
                self._notes.stages.remove(self._tally)
        if self._page is not None:
            self._page.close()
        self._drop_memory()
        self._socket.close()

    def after_fork(self) -> None:
        """Leave it to the parent."""
        self._drop_memory()
        self._socket.close()

    def _read(self) -> bytes:
        if self._page is not None:
            return self._socket.recv(READ)
        data, memory, _, _ = socket.recv_fds(self._socket, READ, 1)
        for descriptor in memory:
            self._drop_memory()
            self._memory = descriptor
        return data

    def _take(self, line: bytes) -> None:
        if self._page is None:
            self._admit(line)
            return
        name, arguments = parsed(line)
        match name, arguments:
            case "say", {**news}:
                self._notes.say(message=news.get("message"), total=news.get("total"))
            case "log", {"text": str(text), "level": str(level)}:
                self._notes.log(text, level)
            case "output", {"text": str(text), "name": stream}:
                self._notes.output(text, validation.stream_name(stream))
            case _:
                raise ValueError(f"It says {name:.80}, and that can't be understood")

    def _admit(self, line: bytes) -> None:
        if not hmac.compare_digest(line, self._token) or self._memory is None:
            raise PermissionError("It does not know the token")
        self._page = Page(self._memory)
        self._drop_memory()
        self._tally = Tally(self._read_count)
        with self._notes.lock:
            self._notes.stages.add(self._tally)
        if self._reason is not None:
            self.tell(self._reason)

    def _read_count(self) -> float:
        assert self._page is not None
        counted = self._page.counted
        if 0 <= counted <= validation.MAX_COUNT:
            self._counted = counted
        return self._counted

    def _drop_memory(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            os.close(memory)
