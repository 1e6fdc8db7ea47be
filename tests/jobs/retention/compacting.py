"""Jobs whose logs are to be compacted, and what is left of them."""

import collections
from typing import Any
from unittest import mock

from jobs import selectors
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.retention import compaction, trimming
from jobs.retention.compaction import due_jobs
from jobs.selectors import Span
from tests.jobs.records import log, row
from tests.jobs.retention.small_logs import report

COMPACTED = ["status", "status", "tick", "stage", "log", "tick", "status"]


def made_failed(make_job: Any, half: int = 60) -> ProcessingJobLifecycle:
    """Make a job that failed half way, after a stage and a log line; its log was not trimmed."""
    lifecycle: ProcessingJobLifecycle = make_job("job-1", status="in_progress")
    with mock.patch.object(trimming, "trim"):
        report(lifecycle, half)
        lifecycle.mark_progress(stage="second")
        lifecycle.log("half of it")
        report(lifecycle, half, begin=half)
        lifecycle.mark_failed("no more", error="it broke")
    return lifecycle


def compact_due() -> int:
    """Compact what is due; return how many jobs are so no more."""
    before = due_jobs().count()
    collections.deque(compaction.compact_due(), maxlen=0)
    return before - due_jobs().count()


def kinds() -> list[str]:
    return [event["kind"] for event in log("job-1")]


def replayed(after: int = 0) -> list[int]:
    job = row("job-1")
    return [each.seq for each in selectors.events_between({"job-1": Span(job["epoch"], after, job["seq"])})["job-1"]]
