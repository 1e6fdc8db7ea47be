"""The bells beside an SQLite file: a Unix socket of each server that wants to hear at once of what others commit.

Who has committed sends a byte to each. It says nothing but «look», and nothing is trusted: who rings without a reason
has a counter read. They are in a folder beside the file, and for whom the file is: its owner alone, or its group as
well if that may write it, as SQLite does it with the other files that it puts there.
"""

import contextlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import connections

from ..source.store import database_alias

SUFFIX = "-bells"  # of the folder, behind the name of the file
NAME = re.compile(r"[0-9a-f]{16}")  # by chance, since servers in containers may all have the same process id
MAX_BELLS = 64  # that are rung: each costs a writer some microseconds
MAX_PATH = 100  # bytes of a socket's path: Linux takes 107, macOS 103
STALE_SECONDS = 2.0  # a bell that nobody hears is removed if it is older: a younger one is perhaps being hung

ARE_POSSIBLE = hasattr(socket, "AF_UNIX") and os.stat in os.supports_dir_fd

_own: dict[str, socket.socket] = {}  # the bells of this process, which has no need to ring them


def database_file() -> str | None:
    """Return the path of the jobs' SQLite file, or None if they are in another database, or in memory."""
    connection = connections[database_alias()]
    path = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in path or "mode=memory" in path:
        return None
    return unquote(urlsplit(path).path) if path.startswith("file:") else path


class Folder:
    """The folder of a file's bells, opened: what happens to its name meanwhile changes nothing.

    Args:
        database: The path of the SQLite file.
        make: Whether to make it, or to have its mode follow the file's.

    Raises:
        OSError: There is none, or it is not for us: it is a link, or others may write to it than to the file.

    """

    def __init__(self, database: str, *, make: bool = False) -> None:
        self.path = os.path.realpath(database) + SUFFIX
        file = os.stat(database)
        self._owner, self._group = file.st_uid, file.st_gid
        self._is_shared = bool(file.st_mode & stat.S_IWGRP)
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path, 0o700)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if make and os.fstat(self._descriptor).st_uid == os.geteuid():
                self._admit(self._descriptor, 0o700)
            if not self._is_for_us():
                raise PermissionError(f"{self.path} is not only for whom the database is")
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of the bells of other processes."""
        with os.scandir(self._descriptor) as entries:
            found = [entry.name for entry in entries if NAME.fullmatch(entry.name)]
        return [name for name in found if name not in _own][:MAX_BELLS]

    def hang(self, name: str) -> socket.socket:
        """Return a new bell, which does not block.

        Raises:
            OSError: The folder takes none.

        """
        bell = _new_socket()
        try:
            bell.bind(self._address(name))
            self._admit(name, 0o600)
        except BaseException:
            bell.close()
            raise
        return bell

    def connect(self, name: str) -> socket.socket | None:
        """Return a socket that rings a bell; None if nobody hears it. Such a bell is removed."""
        link = _new_socket()
        try:
            link.connect(self._address(name))
        except OSError as error:  # the bell is gone by now, or not for us
            link.close()
            if isinstance(error, ConnectionRefusedError):
                self._remove_stale(name)
            return None
        return link

    def remove(self, name: str) -> None:
        """Remove a bell, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._descriptor)

    def _address(self, name: str) -> str:
        path = os.path.join(self.path, name)
        # Another name of the same folder, where there is one and the path is too long; where there is not, it stays so.
        return path if len(os.fsencode(path)) <= MAX_PATH else f"/proc/self/fd/{self._descriptor}/{name}"

    def _remove_stale(self, name: str) -> None:
        with contextlib.suppress(OSError):  # somebody else has removed it
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            if stat.S_ISSOCK(found.st_mode) and time.time() - found.st_ctime > STALE_SECONDS:
                self.remove(name)

    def _admit(self, what: str | int, mode: int) -> None:
        """Give what is ours to the file's owner alone, or also to the file's group if that may write the file.

        What was put in the place of a bell meanwhile, a link to another file, keeps its mode.
        """
        within: Any = {} if isinstance(what, int) else {"dir_fd": self._descriptor, "follow_symlinks": False}
        os.chmod(what, mode, **within)
        with contextlib.suppress(PermissionError):  # only root can, and has to, or the owner's servers had no bells
            os.chown(what, self._owner, -1, **within)
        if self._is_shared:
            with contextlib.suppress(PermissionError):  # we are not in the group
                os.chown(what, -1, self._group, **within)
                os.chmod(what, mode | mode >> 3, **within)

    def _is_for_us(self) -> bool:
        found = os.fstat(self._descriptor)
        is_shared = self._is_shared and found.st_gid == self._group
        is_owned = found.st_uid in (os.geteuid(), self._owner)
        return (is_owned or is_shared) and not found.st_mode & (0o002 if is_shared else 0o022)


@contextlib.contextmanager
def hung(database: str) -> Iterator[socket.socket]:
    """Hang a bell beside an SQLite file, and take it away at the end; remove those that nobody hears.

    Raises:
        OSError: There can be none.

    """
    name, process = secrets.token_hex(8), os.getpid()
    with Folder(database, make=True) as folder:
        for link in map(folder.connect, folder.names()):
            if link is not None:
                link.close()
        bell = _own[name] = folder.hang(name)
    try:
        yield bell
    finally:
        if os.getpid() == process:  # and not a child's copy of whoever hears
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder.path, name))
            _own.pop(name, None)
        bell.close()


def _new_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _after_fork() -> None:
    # The child hears nothing: what it kept open would look as if somebody heard, when the parent is gone. It rings it.
    for bell in _own.values():
        bell.close()
    _own.clear()


os.register_at_fork(after_in_child=_after_fork)
