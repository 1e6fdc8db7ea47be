"""What tests of joint writes share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from jobs.batch import Pending, log_decision, progress_decision
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.records import log

JOBS = 4


def pending(lifecycle: ProcessingJobLifecycle, *changes: str | float) -> Pending:
    """Return changes of a job: a line for each text, a report for each number."""
    return Pending(
        lifecycle, [log_decision(one) if isinstance(one, str) else progress_decision(one) for one in changes]
    )


def said(lifecycle: Any) -> list[str | float]:
    """Return the job's events after its start, in the same form."""
    events = log(lifecycle.job_id)
    return [event["message"] if event["kind"] == "log" else event["progress"] for event in events[2:]]


@contextmanager
def failing(word: str, *errors: Exception) -> Iterator[list[str]]:
    """Raise errors in turn at statements that have a word in them; tell which were tried."""
    left, tried = list(errors), []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if word in sql:
            tried.append(sql)
            if left:
                raise left.pop(0)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield tried
