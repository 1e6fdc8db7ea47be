"""The answers of the pages, without a browser."""

import json
import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob

POLICY = "Content-Security-Policy"

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("debug", [True, False])
def test_not_found__has_the_policy_of_every_page(client: Client, settings: object, debug: bool) -> None:
    settings.DEBUG = debug  # type: ignore[attr-defined]
    answer = client.get("/jobs/nope/")
    assert answer.status_code == 404
    assert answer.headers[POLICY]
    assert answer.headers[POLICY] == client.get("/").headers[POLICY]


def embedded(page: str) -> dict[str, object]:
    """Return the one job that a page hands to its script."""
    text = re.search(r'<script id="[\w-]+" type="application/json">(.*?)</script>', page)
    assert text is not None
    (job,) = json.loads(text[1])["jobs"]
    return dict(job)


def test_job_list__embeds_what_a_feed_tells_and_the_page_of_a_job_its_result(client: Client) -> None:
    job = ProcessingJobLifecycle.create("job-1", public=True)
    job.mark_started()
    job.mark_completed(result={"rows": 40})
    listed, own = embedded(client.get("/").text), embedded(client.get("/jobs/job-1/").text)
    assert own["metadata"] == {"attempt": 1, "result": {"rows": 40}}
    assert listed == {**own, "metadata": {"attempt": 1}}


def test_job_list__tells_its_script_how_many_jobs_a_socket_may_watch(client: Client, settings: object) -> None:
    settings.PROGRESS_MAX_SUBSCRIPTIONS = 1234  # type: ignore[attr-defined]
    assert 'data-subscriptions="1234"' in client.get("/").text


def test_favicon__leads_to_the_icon(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/static/progress/icon.")
    assert finders.find("progress/icon.svg")
    assert not ProcessingJob.objects.exists()
