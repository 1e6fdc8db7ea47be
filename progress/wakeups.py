"""How a hub without a channel layer learns that other processes have written."""

import sqlite3

from django.db import connections

from jobs.selectors import database_alias


class DataVersion:
    """SQLite's change counter, read on a connection of its own.

    ``PRAGMA data_version`` changes when another connection has committed, in this process or
    another; it is answered from shared memory in a few microseconds and takes no lock.
    """

    def __init__(self, path: str) -> None:
        # In autocommit mode: within a transaction the counter would stand still. Made in one thread
        # and read in another, never in two at once.
        self._connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._seen = self._read()

    @classmethod
    def of_database(cls) -> "DataVersion | None":
        """Return the counter of the jobs' database, or None if that is not an SQLite file."""
        connection = connections[database_alias()]
        path = str(connection.settings_dict["NAME"])
        if connection.vendor != "sqlite" or ":memory:" in path or "mode=memory" in path:
            return None
        return cls(path.removeprefix("file:").partition("?")[0])

    def has_changed(self) -> bool:
        """Tell whether anything was committed since the last call."""
        before, self._seen = self._seen, self._read()
        return self._seen != before

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _read(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version
