"""How a hub without a channel layer learns that other processes have written."""

import sqlite3
from urllib.parse import quote

from ..broker.bells import database_file


class DataVersion:
    """SQLite's change counter, read on a connection of its own.

    ``PRAGMA data_version`` changes when another connection has committed, in this process or
    another; it is answered from shared memory in a few microseconds and takes no lock.
    """

    def __init__(self, path: str) -> None:
        # In autocommit mode, since within a transaction the counter stands still. Without a timeout, since the event
        # loop reads it.
        self._connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, timeout=0)
        self._seen: int | None = None
        self.has_changed()  # from here on; if the file is locked now, the next call returns True

    @classmethod
    def of_database(cls) -> "DataVersion | None":
        """Return the counter of the jobs' database, or None if that is not an SQLite file."""
        path = database_file()
        return None if path is None else cls(path)

    def has_changed(self) -> bool:
        """Return whether anything was committed since the last call, or may have been."""
        try:
            before, self._seen = self._seen, self._read()
        except sqlite3.OperationalError:
            return True  # the file is locked: somebody is writing
        return self._seen != before

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version
