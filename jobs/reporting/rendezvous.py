"""Where the processes of one run meet: a socket in a directory that nobody else may enter."""

import contextlib
import os
import shutil
import socket
import stat
import tempfile
import time

PREFIX = "job-reports-"
LONGEST = 60  # characters of the directory for temporary files: the path of a socket has 100 or so
OLD_SECONDS = 60.0  # from which on a directory may be one that was left behind: before, it may be in the making

_has_looked = False


def listening_socket(backlog: int) -> tuple[socket.socket, str]:
    """Return a socket and its path, in a new directory that is this user's alone.

    Raises:
        OSError: It could not be made.

    """
    _remove_left_behind()
    directory = tempfile.mkdtemp(prefix=PREFIX, dir=_parent())
    listening = socket.socket(socket.AF_UNIX)
    try:
        path = os.path.join(directory, "socket")
        listening.bind(path)
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return listening, path


def remove(path: str) -> None:
    """Remove a socket with its directory."""
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def _parent() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST else "/tmp"  # noqa: S108  # a directory of its own is made there


def _remove_left_behind() -> None:
    """Remove the directories of processes that were killed: those in which nobody listens. Once a process."""
    global _has_looked
    if _has_looked:
        return
    _has_looked = True
    with os.scandir(_parent()) as entries:
        found = [entry for entry in entries if entry.name.startswith(PREFIX)]
    for entry in found:
        with contextlib.suppress(OSError):  # it is gone meanwhile, say
            if _is_own_and_old(entry.stat(follow_symlinks=False)) and not _is_listened_to(entry.path):
                shutil.rmtree(entry.path)


def _is_own_and_old(status: os.stat_result) -> bool:
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return is_own and status.st_mtime < time.time() - OLD_SECONDS


def _is_listened_to(directory: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        try:
            asking.connect(os.path.join(directory, "socket"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # so many wait to be heard
    return True
