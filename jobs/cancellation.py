"""Requests to cancel that no worker answers in time: watchers are told of each once, and the job stays as it is.

Any process may look, and several at once: what is recorded is decided on under the job row's lock.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import database
from .database import UNAVAILABLE, jobs_as_written, with_retries
from .exceptions import JobNotFound
from .lifecycle import ProcessingJobLifecycle
from .models import ProcessingJobQuerySet
from .number_settings import number_setting
from .retention.pace import paced
from .states import Status

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 60.0  # unless ``JOBS_CANCEL_SECONDS`` says otherwise
MIN_LOOK_SECONDS = 3.0  # between two looks, unless one more request is known to be due sooner
MOST = 100  # recorded at one look

cancel_seconds = number_setting("JOBS_CANCEL_SECONDS", CANCEL_SECONDS, 1, 86_400, "jobs.E007")


def waiting_jobs() -> ProcessingJobQuerySet:
    """Return the jobs whose workers were asked to end and have not done so, unless that is recorded; oldest first."""
    asked = jobs_as_written().filter(cancel_requested_at__isnull=False, cancel_unanswered_at=None, finished_at=None)
    return asked.filter(status=Status.IN_PROGRESS).order_by("cancel_requested_at")


def record_unanswered(pause: Callable[[float], object] = time.sleep) -> float:
    """Record which requests to cancel no worker has answered within ``JOBS_CANCEL_SECONDS``.

    Args:
        pause: Waits for some seconds after each; if it returns true, the others are for the next look.

    Returns:
        The seconds until the next look. Until then nothing is due: neither what waits now, nor what is asked for later.

    Raises:
        OperationalError: The database does not answer.

    """
    looked_at, now, grace = time.monotonic(), with_retries(database.now), cancel_seconds()
    asked: Any = waiting_jobs().values_list("pk", "cancel_requested_at")[: MOST + 1]
    left: dict[str, float] = {job_id: grace - (now - requested_at).total_seconds() for job_id, requested_at in asked}
    due = [job_id for job_id, seconds in left.items() if seconds <= 0]
    deque(paced(_recorded(due[:MOST], grace), pause), maxlen=0)
    if len(due) > MOST:
        return 0.0
    following = min([max(grace, MIN_LOOK_SECONDS), *(seconds for seconds in left.values() if seconds > 0)])
    return max(0.0, following - (time.monotonic() - looked_at))


def _recorded(job_ids: Iterable[str], grace: float) -> Iterator[str]:
    """Record it of one job at each step, and yield its id."""
    for job_id in job_ids:
        try:
            with contextlib.suppress(JobNotFound):  # deleted meanwhile
                ProcessingJobLifecycle(job_id).mark_cancel_unanswered(seconds=grace)
        except UNAVAILABLE:
            raise
        except Exception as error:  # whatever is wrong with a row, it harms its own job only, and is not tried for ever
            logger.warning("It can't be recorded that the cancellation of job %s is unanswered: %r", job_id, error)
            jobs_as_written().filter(pk=job_id).update(cancel_unanswered_at=with_retries(database.now))
        yield job_id
