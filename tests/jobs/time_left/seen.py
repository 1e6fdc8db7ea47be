"""What watchers see of the time left."""

from typing import Any

from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.records import assert_whole, row


def time_left(lifecycle: ProcessingJobLifecycle) -> tuple[Any, Any]:
    """Return what watchers see of the time left."""
    assert_whole(lifecycle.job_id)
    metadata = row(lifecycle.job_id)["metadata"]
    return metadata.get("eta_seconds"), metadata.get("time_left")
