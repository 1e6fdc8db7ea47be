"""On a job's page in the admin: which process runs it, and what is done if that is lost."""

from datetime import datetime
from typing import Any

from ..admin_tables import moment
from ..changes import STALLED
from ..leases import Worker
from ..models import ProcessingJob
from .decisions import CANCEL
from .kinds import FAIL, REQUEUE

NOBODY = "-"
THEN = {REQUEUE: "queued again", FAIL: "failed", CANCEL: "cancelled"}


def worker_in_words(job: ProcessingJob) -> str:
    """Return which process holds the lease of a job's run, and whether it is lost."""
    if job.worker_id is None:
        return NOBODY
    worker = Worker.objects.filter(pk=job.worker_id).first()
    name = str(worker) if worker is not None else job.worker_id
    try:
        mark = job.metadata.get(STALLED)
        return name if mark is None else f"{name} — stalled: {_in_words(mark)}"
    except Exception:  # whatever an import may have stored
        return name


def _in_words(mark: dict[str, Any]) -> str:
    words = f"no sign of life since {_moment(mark['since'])}; the job will be "
    then = THEN.get(mark["then"])
    if then is None:
        return f"{words}left as it is"
    words += f"{then} at {_moment(mark['at'])}"
    return f"{words}, as attempt {mark['attempt']} of {mark['of']}" if mark["then"] == REQUEUE else words


def _moment(at: str) -> str:
    return moment(datetime.fromisoformat(at))
