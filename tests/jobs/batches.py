"""What tests of joint writes share."""

from typing import Any

from jobs.batch import Pending, log_decision, progress_decision
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.records import log


def pending(lifecycle: ProcessingJobLifecycle, *changes: str | float) -> Pending:
    """Return changes of a job: a line for each text, a report for each number."""
    return Pending(
        lifecycle, [log_decision(one) if isinstance(one, str) else progress_decision(one) for one in changes]
    )


def said(lifecycle: Any) -> list[str | float]:
    """Return the job's events after its start, in the same form."""
    events = log(lifecycle.job_id)
    return [event["message"] if event["kind"] == "log" else event["progress"] for event in events[2:]]
