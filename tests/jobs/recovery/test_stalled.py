"""How a job is shown whose worker is lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.events import in_words
from jobs.leases import Worker
from jobs.models import JobEvent, ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.sweep import look
from jobs.recovery.worker_lease import TTL_SECONDS
from jobs.states import EventKind
from tests.jobs.records import assert_whole, row, stored
from tests.jobs.recovery.lost import REQUEUE, begin, find, mark_of, silence

pytestmark = pytest.mark.django_db(transaction=True)


def test_stalled__says_since_when_and_what_will_be_done(settings: Any, committed: list[Any]) -> None:
    settings.JOBS_KINDS = REQUEUE
    begin("job-1", kind="thumbnails").mark_progress(30, message="on its way")
    before = row("job-1")
    ProcessingJob.objects.update(started_at=timezone.now() - timedelta(hours=1))
    silence()
    assert find().written == 1
    after, worker = row("job-1"), Worker.objects.get()
    mark = mark_of("job-1")
    assert after["metadata"] == {**before["metadata"], "stalled": mark}
    assert {name: mark[name] for name in ("then", "attempt", "of")} == {"then": "requeue", "attempt": 2, "of": 3}
    assert mark["since"] == in_words(worker.until - timedelta(seconds=TTL_SECONDS))
    assert mark["at"] == in_words(worker.late_at + timedelta(seconds=sweep.GRACE_SECONDS))
    assert (after["status"], after["message"], after["progress"]) == ("in_progress", "on its way", 30)
    assert (committed[-1].kind, committed[-1].metadata) == (EventKind.STATUS, after["metadata"])
    assert after["status_changed_at"] == committed[-1].timestamp, "lists show it"
    assert_whole("job-1")


def test_stalled__since_no_earlier_than_the_start() -> None:
    begin("job-1")
    silence(seconds=3_600)
    find()
    assert mark_of("job-1")["since"] == in_words(row("job-1")["started_at"])


def test_stalled__since_no_later_than_now_though_the_clock_was_set_back() -> None:
    begin("job-1")
    silence(seconds=-3_600)
    find()
    assert mark_of("job-1")["since"] < in_words(timezone.now())


def test_stalled__is_said_once() -> None:
    begin("job-1")
    silence()
    find()
    before = stored("job-1")
    for _ in range(2):
        look()
    assert stored("job-1") == before


def test_stalled__goes_with_whatever_the_worker_writes_next() -> None:
    worker = begin("job-1")
    silence()
    find()
    worker.mark_progress(40, message="still there")
    assert mark_of("job-1") is None
    assert_whole("job-1")
    # A change of status, of which lists are told: they would show it as stalled until the next one.
    assert JobEvent.objects.order_by("seq").values_list("kind", flat=True).last() == EventKind.STATUS
    worker.mark_progress(50)
    assert JobEvent.objects.order_by("seq").values_list("kind", flat=True).last() == EventKind.TICK


def test_stalled__goes_with_the_end() -> None:
    worker = begin("job-1")
    silence()
    find()
    worker.mark_completed()
    assert row("job-1")["metadata"] == {"attempt": 1}
