"""The pages: recent jobs, and one job; both are kept live by their scripts."""

import logging
import math
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .conf import conf
from .protocol.frames import encode, feed_entry
from .source.store import course_chart, selectors
from .source.vocabulary import is_job_id

if TYPE_CHECKING:
    from .source.store import ProcessingJob

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    """Show the newest jobs that the user may see."""
    jobs = [shown for job in selectors.recent_jobs(request.user, conf.FEED_JOBS) if (shown := _shown(job))]
    context = {
        "jobs": jobs,
        "frame": _feed(*(feed_entry(shown["job"]) for shown in jobs)),
        "limit": conf.FEED_JOBS,
        "subscriptions": conf.MAX_SUBSCRIPTIONS,
        "heartbeat": conf.HEARTBEAT_SECONDS,
    }
    return render(request, "progress/list.html", context)


@never_cache
@require_safe
def job_page(request: HttpRequest, job_id: str) -> HttpResponse:
    """Show one job; an unknown, a malformed and a hidden id get the same answer."""
    job = selectors.get_visible_job(request.user, job_id) if is_job_id(job_id) else None
    if job is None:
        return render(request, "progress/not_found.html", {"heartbeat": conf.HEARTBEAT_SECONDS}, status=404)
    shown = _shown(job)
    if shown is None:
        return render(request, "progress/unavailable.html", status=503)
    context = {
        **shown,
        "course": course_chart(job) if job.is_finished else "",  # of a running job, the bar moves and this would not
        "frame": _feed(shown["entry"]),
        "heartbeat": conf.HEARTBEAT_SECONDS,
    }
    return render(request, "progress/job.html", context)


def _feed(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return a feed frame with these entries; the scripts fold it like one that came through the socket."""
    return {"type": "feed", "subject": "page", "jobs": entries}


def _shown(job: "ProcessingJob") -> dict[str, Any] | None:
    """Return what a template shows of a job, worded as in the scripts; None if it can't be shown."""
    try:
        entry = feed_entry(job, with_result=True)
        encode(entry)
    except Exception as error:  # a bad row of any kind must not take the page's other jobs with it
        logger.warning("Job %s can't be shown: %r", job.pk, error)
        return None
    return {
        "job": job,
        "entry": entry,
        "status": _status(job),
        "trouble": "stalled" if _is_stalled(job) else "",
        "percent": "" if job.progress is None else f"{math.floor(job.progress)}%",
        "is_indeterminate": job.progress is None and job.status == "in_progress",
        "stage": _text(job, "stage"),
        "error": _distinct_error(job),
    }


def _status(job: "ProcessingJob") -> str:
    """Return the status in words."""
    if _is_stalled(job):
        return "Stalled"
    if job.is_finished or not job.cancel_requested_at:
        return str(job.get_status_display())
    return "Cancelling — the worker has not answered" if job.cancel_unanswered_at else "Cancelling"


def _is_stalled(job: "ProcessingJob") -> bool:
    """Return whether the job runs, but its worker gives no sign of life."""
    return job.status == "in_progress" and isinstance(job.metadata.get("stalled"), dict)


def _text(job: "ProcessingJob", key: str) -> str:
    """Return a text of the metadata; empty if it is anything else, since metadata may hold anything."""
    value = job.metadata.get(key)
    return value if isinstance(value, str) else ""


def _distinct_error(job: "ProcessingJob") -> str:
    """Return the error of a failed job, unless the message says it already."""
    error = _text(job, "error")
    return error if job.status == "failed" and error != job.message else ""
