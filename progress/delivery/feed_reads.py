"""What a feed reads of jobs, and what each of its watchers may see of that. Called in threads."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..conf import conf
from ..identity.rights import Rights, recent
from ..protocol.frames import FeedName, encode, feed_entry
from ..source.store import selectors
from . import reads
from .feed_watcher import Viewer

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)

Changes = dict[str, tuple[str, str, datetime]]  # of jobs: epoch, status, and when it came to that
View = tuple[list[str], list[str]]  # jobs that a viewer sees, and those that the policy failed on


def read_recent(rights: Rights, name: FeedName) -> tuple[list[str], Changes]:
    """Return the entries of the most recent jobs that somebody may see, oldest first, and the last change of each.

    Of one that can't be shown there is neither: what nobody was shown does not leave a list either.
    """
    jobs = recent(rights, name, conf.FEED_JOBS)
    entries = _entries(reversed(jobs))
    return list(entries.values()), _changes_of(job for job in jobs if job.pk in entries)


def read_changes(seconds: float, sent: Changes) -> tuple[Changes, list[str]]:
    """Return the last change of each job that has changed its status in so many seconds, and which were not sent."""
    rows = selectors.jobs_changed_since(selectors.now() - timedelta(seconds=seconds))
    found = {job_id: (epoch, status, at) for job_id, epoch, status, at in rows}
    return found, [job_id for job_id, change in found.items() if sent.get(job_id) != change]


def read_jobs(
    viewers: Sequence[Viewer], job_ids: Sequence[str]
) -> tuple[set[str], Changes, dict[str, str], list[View]]:
    """Return which jobs are gone, the last changes of the others, their entries, and the view of each viewer."""
    found = reads.each(lambda some: {job.pk: job for job in selectors.get_jobs(some)}, job_ids)
    jobs = [job for job in found.values() if not isinstance(job, Exception)]
    jobs.sort(key=lambda job: job.status_changed_at)
    entries = _entries(jobs)
    shown = [job for job in jobs if job.pk in entries]
    return set(job_ids) - found.keys(), _changes_of(jobs), entries, _views(viewers, shown)


def _changes_of(jobs: "Iterable[ProcessingJob]") -> Changes:
    return {job.pk: (job.epoch, job.status, job.status_changed_at) for job in jobs}


def _views(viewers: Sequence[Viewer], jobs: "Sequence[ProcessingJob]") -> list[View]:
    """Return the view of each viewer; the policy is asked once for all who see the same."""
    one_of_each = {viewer.key: viewer for viewer in viewers}
    views = {key: _view(viewer, jobs) for key, viewer in one_of_each.items()}
    return [views[viewer.key] for viewer in viewers]


def _view(viewer: Viewer, jobs: "Sequence[ProcessingJob]") -> View:
    seen, owed = [], []
    for job in jobs:
        try:
            if viewer.sees(job):
                seen.append(job.pk)
        except Exception as error:  # whatever the policy raises, it harms this viewer and job only
            owed.append(job.pk)
            logger.warning("The access policy can't decide on job %s: %r", job.pk, error)
    return seen, owed


def _entries(jobs: "Iterable[ProcessingJob]") -> dict[str, str]:
    """Return the jobs as a feed shows them, without those that can't be shown."""
    entries = {}
    for job in jobs:
        try:
            entries[job.pk] = encode(feed_entry(job))
        except Exception as error:  # whatever is wrong with a row, it harms its own job only
            logger.warning("Job %s can't be shown: %r", job.pk, error)
    return entries
