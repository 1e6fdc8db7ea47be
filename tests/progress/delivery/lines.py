"""What the tests of log lines and output share."""

from typing import Any

from django.utils import timezone

from jobs.models import JobEvent, ProcessingJob
from tests.progress.hubs import JOB
from tests.progress.watching import Watcher, run


def _add(kinds: str, text: str) -> None:
    """Add events: a line for each ``l``, a tick for each ``t``."""
    job = ProcessingJob.objects.get(pk=JOB)
    common: dict[str, Any] = {"job": job, "status": job.status, "progress": 1.0, "timestamp": timezone.now()}
    JobEvent.objects.bulk_create(
        JobEvent(seq=seq, kind="log", message=f"{text}{seq}", metadata={"level": "info"}, **common)
        if kind == "l"
        else JobEvent(seq=seq, kind="tick", **common)
        for seq, kind in enumerate(kinds, job.seq + 1)
    )
    shown = {"updated_at": common["timestamp"]} if "t" in kinds else {}  # else a sweep takes the log for another
    ProcessingJob.objects.filter(pk=JOB).update(seq=job.seq + len(kinds), **shown)


add = run(_add)


def got(watcher: Watcher) -> list[Any]:
    """Return what came: of lines and states the position, of the rest the type."""
    return [frame["seq"] if frame["type"] in ("log", "progress") else frame["type"] for frame in watcher.frames]
