"""The picture of a run, for those who see it and those who don't."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import JobEvent, JobRun, ProcessingJob
from jobs.retention import chart
from jobs.retention.compaction import compact
from jobs.retention.runs import course
from tests.jobs.admin_pages import detail, page, staff

pytestmark = pytest.mark.django_db(transaction=True)

SVG = "{http://www.w3.org/2000/svg}"


def long_job(job_id: str, events: int, *, status: str = "failed") -> ProcessingJob:
    """Make a job whose log was never trimmed, a tick each second."""
    began = timezone.now() - timedelta(seconds=events)
    job = ProcessingJob.objects.create(
        id=job_id, seq=events, status=status, progress=50.0, started_at=began, finished_at=timezone.now(), public=True
    )
    kinds = {1: ("status", "pending"), 2: ("status", "in_progress"), events: ("status", status)}
    JobEvent.objects.bulk_create(
        JobEvent(
            job=job,
            seq=seq,
            kind=kinds.get(seq, ("tick", ""))[0],
            status=kinds.get(seq, ("", "in_progress"))[1],
            progress=max(0, 50 * (seq - 2) / (events - 2)),
            timestamp=began + timedelta(seconds=seq - 2),
        )
        for seq in range(1, events + 1)
    )
    return job


def test_chart__is_an_image_with_a_title_and_its_course_in_words() -> None:
    text = chart.course_chart(long_job("job-1", 3_602))
    svg = ElementTree.fromstring(re.search("<svg.*</svg>", text)[0])  # type: ignore[index]
    named = {element.get("id"): element.text for element in svg.iter()}
    assert svg.get("role") == "img"
    assert [named[name] for name in str(svg.get("aria-labelledby")).split()] == [
        "Progress of attempt 1 over time",
        "25 % after 30 min 0 s; 50 % after 1 h 0 min.",
    ]
    assert "<figcaption>Attempt 1: 50 % after 1 h 0 min</figcaption>" in text
    assert " style=" not in text


def test_chart__lies_within_its_box() -> None:
    text = chart.course_chart(long_job("job-1", 500))
    (line,) = re.findall(r'<polyline class="job-course-line" points="([^"]*)"', text)
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert points[0] == (0, 100)
    assert points[-1] == (600, 50)
    assert all(left[0] < right[0] and left[1] >= right[1] for left, right in pairwise(points))


def test_chart__the_same_before_and_after_compaction() -> None:
    job = long_job("job-1", 1_000)
    before = chart.course_chart(job)
    assert compact("job-1")
    assert JobEvent.objects.count() == 5
    assert chart.course_chart(ProcessingJob.objects.get()) == before


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed"])
def test_chart__of_what_has_no_course_is_empty(make_job: Any, status: str) -> None:
    assert chart.course_chart(make_job(status=status).job) == ""


def test_chart__of_a_row_that_makes_no_sense_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    job = long_job("job-1", 100)
    JobRun.objects.create(job=job, attempt=1, curve=[["what", None], 7])
    assert chart.course_chart(job) == ""
    assert "The course of job job-1 can't be shown" in caplog.text


def test_chart__leaves_out_what_is_no_percentage() -> None:
    job = long_job("job-1", 100)
    JobEvent.objects.filter(seq=50).update(progress=None)
    JobEvent.objects.filter(seq=51).update(progress=1e9)
    assert "nan" not in chart.course_chart(job)
    assert max(percent for _, percent in course(job.events.all(), chart.present_run(job))) == 50


def test_chart__a_silent_database_is_for_the_caller() -> None:
    job = long_job("job-1", 100)

    def silent(*_: Any) -> Any:
        raise OperationalError

    with connection.execute_wrapper(silent), pytest.raises(OperationalError):
        chart.course_chart(job)


def test_pages__of_a_long_log_read_a_few_hundred_rows_of_it(client: Any) -> None:
    """Each of the queries names the events that it looks up, or the number of those that it takes at most."""
    long_job("job-1", 5_000)
    for get in (lambda: page(staff("view"), detail("job-1")), lambda: client.get("/jobs/job-1/").content.decode()):
        with CaptureQueriesContext(connection) as queries:
            assert '<figure class="job-course">' in get()
        of_log = [query["sql"] for query in queries if "jobs_jobevent" in query["sql"]]
        assert of_log
        assert all(" LIMIT " in sql or " IN (" in sql for sql in of_log), of_log
        assert not any("COUNT(" in sql for sql in of_log)


def test_admin__tells_what_is_kept_and_how_earlier_attempts_went() -> None:
    job = long_job("job-1", 1_000)
    JobRun.objects.create(job=job, attempt=1, outcome="failed", curve=[[0, 0], [10, 30]])
    ProcessingJob.objects.update(attempt=2, attempt_seq=500, floor=900)
    text = page(staff("view"), detail("job-1"))
    assert text.count('<figure class="job-course">') == 2
    assert "Attempt 1: 30 % after 10 s" in text
    assert "900 earlier events are not shown." in text
    assert "Of the first 900, only changes of status and stage, log lines, edits and a few ticks are kept." in text


def test_page__of_a_running_job_has_no_picture(client: Any) -> None:
    long_job("job-1", 100, status="in_progress")
    assert "job-course" not in client.get("/jobs/job-1/").content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "0.004 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h 0 min"),
        (9e6, "2,500 h 0 min"),
    ],
)
def test_duration__in_its_two_largest_units(seconds: float, words: str) -> None:
    assert chart._duration(seconds) == words
