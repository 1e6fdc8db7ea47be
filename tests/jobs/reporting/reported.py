"""What the tests of the reporter look at."""

from collections.abc import Callable

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob

MakeJob = Callable[..., ProcessingJobLifecycle]


def stored() -> ProcessingJob:
    return ProcessingJob.objects.get(pk="job-1")
