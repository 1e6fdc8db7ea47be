"""The answers of the pages, without a browser."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.bad_rows import SHOWABLE, of_each_kind, of_each_that_can_not_be_shown, spoil

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


@pytest.mark.parametrize(("current", "words"), [(19_999, "99%"), (20_000, "100%")])
def test_pages__a_hundred_percent_is_for_what_is_done(client: Client, current: int, words: str) -> None:
    job = ProcessingJobLifecycle.create("job-1", public=True)
    job.mark_started()
    job.mark_progress(current=current, total=20_000)
    for url in ("/", "/jobs/job-1/"):
        page = client.get(url).text
        assert f">{words}</span>" in page
        assert (embedded(page)["progress"] == 100) is (words == "100%")


def test_job_list__tells_its_script_how_many_jobs_a_socket_may_watch(client: Client, settings: object) -> None:
    settings.PROGRESS_MAX_SUBSCRIPTIONS = 1234  # type: ignore[attr-defined]
    assert 'data-subscriptions="1234"' in client.get("/").text


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((), "In progress"),
        (("request_cancel",), "Cancelling"),
        (("request_cancel", "mark_cancel_unanswered"), "Cancelling — the worker has not answered"),
        (("request_cancel", "mark_cancel_unanswered", "mark_failed"), "Failed"),
    ],
)
def test_pages__say_whether_a_cancellation_is_answered(client: Client, steps: tuple[str, ...], words: str) -> None:
    job = ProcessingJobLifecycle.create("job-1", public=True)
    job.mark_started()
    for step in steps:
        getattr(job, step)(**({"seconds": 0} if step == "mark_cancel_unanswered" else {}))
    for page in "/", "/jobs/job-1/":
        assert f">{words}<" in client.get(page).text


def test_pages__say_that_a_job_is_stalled(client: Client) -> None:
    ProcessingJobLifecycle.create("job-1", public=True).mark_started()
    spoil("job-1", {"metadata": '{"stalled": {"since": "2026-01-01T00:00:00Z", "then": "leave"}}'})
    for page in "/", "/jobs/job-1/":
        assert ">Stalled<" in client.get(page).text
        assert 'data-trouble="stalled"' in client.get(page).text
    spoil("job-1", {"metadata": '{"stalled": "no"}'})
    for page in "/", "/jobs/job-1/":
        assert "data-trouble" not in client.get(page).text


@of_each_kind
def test_job_list__a_bad_row_harms_itself_only(client: Client, bad: dict[str, Any]) -> None:
    for name in ("job-1", "bad", "job-2"):
        ProcessingJobLifecycle.create(name, public=True).mark_started()
    spoil("bad", bad)
    answer = client.get("/")
    shown = {"job-1", "job-2"} | ({"bad"} if bad in SHOWABLE.values() else set())
    assert answer.status_code == 200
    assert set(re.findall(r'data-job-id="([\w-]+)"', answer.text)) == shown
    assert client.get("/jobs/job-1/").status_code == 200


@of_each_that_can_not_be_shown
def test_job_page__of_a_bad_row_says_so(client: Client, bad: dict[str, Any]) -> None:
    ProcessingJobLifecycle.create("bad", public=True).mark_started()
    ProcessingJobLifecycle.create("hidden").mark_started()
    spoil("bad", bad)
    spoil("hidden", bad)
    answer = client.get("/jobs/bad/")
    assert answer.status_code in (404, 503)
    assert answer.headers[POLICY]
    assert "See the recent jobs" in answer.text
    assert client.get("/jobs/hidden/").status_code == 404


@pytest.mark.parametrize("bad", SHOWABLE.values())
def test_job_page__shows_what_makes_sense(client: Client, bad: dict[str, Any]) -> None:
    ProcessingJobLifecycle.create("bad", name="The job", public=True).mark_started()
    spoil("bad", bad)
    answer = client.get("/jobs/bad/")
    assert answer.status_code == 200
    assert "The job" in answer.text


@pytest.mark.parametrize(
    ("fields", "there"),
    [({}, "/"), ({"next": "https://elsewhere.example/"}, "/"), ({"next": "/admin/"}, "/admin/")],
)
def test_sign_in__leads_to_a_page_that_there_is(client: Client, fields: dict[str, str], there: str) -> None:
    User.objects.create_user("ann", password="secret", is_staff=True)
    answer = client.post("/admin/login/", {"username": "ann", "password": "secret", **fields})
    assert answer.headers["Location"] == there
    assert client.get(there).status_code == 200


def test_favicon__leads_to_the_icon(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/static/progress/icon.")
    assert finders.find("progress/icon.svg")
    assert not ProcessingJob.objects.exists()


def test_not_found__is_the_same_for_every_id_and_holds_nothing_of_a_job(client: Client) -> None:
    """It is also what a share link loads, whose token the server does not get."""
    ProcessingJobLifecycle.create("hidden", name="A secret", metadata={"word": "secret"}).mark_started("Secret")
    pages = [client.get(f"/jobs/{job_id}/") for job_id in ("hidden", "no-such-job", "a b", "x" * 100)]
    assert {(page.status_code, page.text) for page in pages} == {(404, pages[0].text)}
    assert "secret" not in pages[0].text.lower()
    assert 'id="shared-job"' in pages[0].text
