"""What docs/recovery.md shows runs, and works as it says."""

import re
from typing import Any

import pytest
from django.test import override_settings

from jobs.models import ProcessingJob
from jobs.recovery import kinds, sweep, worker_lease
from jobs.recovery.kinds import Options, options_of
from jobs.reporting import Job
from jobs.signals import job_requeued
from tests.documents import FENCE, PAGES, rows, section
from tests.jobs.recovery.lost import begin, find, silence, wait_out
from tests.test_readme import run

PAGE = "docs/recovery.md"

pytestmark = pytest.mark.django_db(transaction=True)


def snippet(words: str) -> str:
    (code,) = (code for language, code in FENCE.findall(PAGES[PAGE]) if language == "python" and words in code)
    assert isinstance(code, str)
    return code


def shared_task(function: Any) -> Any:
    """Do what Celery's does, at once."""
    function.delay = function
    return function


def task(images: list[str]) -> Any:
    names = run(snippet("@shared_task"), shared_task=shared_task, Job=Job, images_of=lambda _: images, resize=str)
    return names["make_thumbnails"]


def test_kinds__are_valid_and_mean_what_the_page_says() -> None:
    given: Any = run(snippet("JOBS_KINDS"))["JOBS_KINDS"]
    with override_settings(JOBS_KINDS=given):
        assert kinds.check_kinds() == []
        assert options_of("thumbnails") == Options("requeue", 3, 60)
        assert options_of("payments.refund") == Options("leave", 3, 600)
        assert options_of("") == Options("fail", 3, 600)


def test_options__their_defaults_and_bounds() -> None:
    shown = rows(section(PAGE, "Choose what is done"))
    assert {name: cells[0].strip("`").strip('"') for name, cells in shown.items()} == {
        name: str(value) for name, value in Options()._asdict().items()
    }
    for name, bounds in ("attempts", kinds.ATTEMPTS), ("max_silence", kinds.SILENCES):
        assert "({:,} – {:,})".format(*bounds) in shown[name][1]


def test_signal__has_the_job_run_again(settings: Any) -> None:
    settings.JOBS_KINDS = {"thumbnails": {"recovery": "requeue"}}
    begin("job-1", kind="thumbnails")
    silence()
    find()
    receiver = run(snippet("@receiver"), make_thumbnails=task(["a", "b"]))["run_again"]
    try:
        wait_out()
    finally:
        job_requeued.disconnect(receiver)
    job = ProcessingJob.objects.get()
    assert (job.status, job.attempt, job.metadata["current"]) == ("completed", 2, 2)


def test_command__takes_what_waits() -> None:
    for job_id in "job-1", "job-2":
        Job.create(job_id, kind="thumbnails").mark_queued()
    names: dict[str, Any] = run(snippet("def run_waiting"), make_thumbnails=task(["a"]))
    names["run_waiting"]()
    assert set(ProcessingJob.objects.values_list("status", flat=True)) == {"completed"}


def test_times__are_those_of_the_code() -> None:
    text = PAGES[PAGE]
    assert f"every {worker_lease.RENEW_SECONDS:.0f} seconds" in text
    assert f"good for {worker_lease.TTL_SECONDS:.0f} seconds" in text
    assert f"{sweep.GRACE_SECONDS:.0f} seconds later" in text
    assert f"for {sweep.LATE_SECONDS:.0f} seconds has to find" in text
    assert f"more than {sweep.GAP_SECONDS:.0f} seconds" in text
    assert f"every {sweep.LOOK_SECONDS:.0f} seconds, by one query" in text
    assert f"again every {sweep.TELL_AGAIN_SECONDS:.0f} seconds" in text
    found = re.search(r"\| (\d+) to (\d+) seconds after it was killed \|", text)
    assert found is not None
    earliest = worker_lease.TTL_SECONDS + sweep.LATE_SECONDS
    assert [int(each) for each in found.groups()] == [
        earliest - worker_lease.RENEW_SECONDS,
        earliest + sweep.LOOK_SECONDS + sweep.LATE_LOOK_SECONDS,
    ]
