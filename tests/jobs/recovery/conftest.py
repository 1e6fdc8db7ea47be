"""Who is told of what."""

from typing import Any

import pytest

from jobs.models import ProcessingJob
from jobs.signals import job_requeued


@pytest.fixture
def requeued() -> Any:
    """The jobs that somebody was told of who has queues."""
    found: list[tuple[str, int, str]] = []

    def receive(job: ProcessingJob, **_: Any) -> None:
        found.append((job.pk, job.attempt, job.kind))

    job_requeued.connect(receive)
    yield found
    job_requeued.disconnect(receive)
