"""Ways to lose a connection to PostgreSQL, and what is done meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from jobs.lifecycle import ProcessingJobLifecycle


def terminate_backend() -> None:
    """End this thread's session, as a restart of the server does: the client hears of it at its next use."""
    pid = connection.connection.info.backend_pid

    def kill() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    in_thread(kill)


def in_thread(work: Callable[[], None]) -> None:
    """Do something on another connection."""

    def run() -> None:
        work()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@contextlib.contextmanager
def cut(moment: str, *, word: str = "", times: int = 1) -> Iterator[list[str]]:
    """Lose the connection at the next statement that has a word in it, or at the next COMMIT; tell what was cut."""
    left, met = times, []

    def lose(what: str) -> None:
        nonlocal left
        left -= 1
        met.append(what)
        terminate_backend()

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not left or word not in sql or "commit" in moment:
            return execute(sql, params, many, context)
        if moment == "before":
            lose(sql)
            return execute(sql, params, many, context)
        execute(sql, params, many, context)
        lose(sql)
        raise OperationalError("server closed the connection unexpectedly")

    real = type(connections["default"])._commit

    def commit(self: Any) -> None:
        if self is not here or not left or "commit" not in moment:
            return real(self)
        if moment == "at commit":
            lose("COMMIT")
            return real(self)
        real(self)
        lose("COMMIT")
        raise OperationalError("server closed the connection unexpectedly")

    here = connections["default"]
    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(wrapper):
        patch.setattr(type(here), "_commit", commit)
        yield met
    assert left == 0, "nothing was cut"


CHANGES: dict[str, tuple[str, Callable[[ProcessingJobLifecycle], None]]] = {
    "mark_queued": ("pending", lambda job: job.mark_queued("a")),
    "mark_started": ("queued", lambda job: job.mark_started("a", metadata={"b": 1})),
    "mark_progress": ("in_progress", lambda job: job.mark_progress(current=5, total=10, message="a")),
    "mark_completed": ("in_progress", lambda job: job.mark_completed("a", result={"b": 1})),
    "mark_failed": ("in_progress", lambda job: job.mark_failed(error="a")),
    "mark_cancelled": ("in_progress", lambda job: job.mark_cancelled()),
    "request_cancel": ("in_progress", lambda job: job.request_cancel()),
    "retry": ("failed", lambda job: job.retry()),
    "edit": ("in_progress", lambda job: job.edit(name="a", public=True)),
    "log": ("in_progress", lambda job: job.log("a line")),
}
